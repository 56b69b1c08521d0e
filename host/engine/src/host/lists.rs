//! Lists that cross between a component and the host in one copy. Generated bindings lift a list into a `Vec` and lower it from one,
//! so that a tensor's elements would be copied a second time on the host.
#![allow(
    unsafe_code,
    reason = "wasmtime's traits are unsafe to implement; every item here is that of `[T]`"
)]

use std::mem::MaybeUninit;

use wasmtime::StoreContext;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, LowerContext,
};
use wasmtime::component::{ComponentType, Lift, Lower, WasmList};

use super::State;

/// A list in the host's memory that is copied directly into the component's memory.
pub(crate) struct HostList<O, T> {
    owner: O,
    view: for<'a> fn(&'a O) -> &'a [T],
}

impl<O, T> HostList<O, T> {
    /// A list of the elements that `view` returns for `owner`.
    pub(crate) const fn new(owner: O, view: for<'a> fn(&'a O) -> &'a [T]) -> Self {
        Self { owner, view }
    }

    pub(crate) fn elements(&self) -> &[T] {
        (self.view)(&self.owner)
    }
}

// SAFETY: every item is that of `[T]`; the elements are lowered as `[T]`.
unsafe impl<O: Send + Sync, T: ComponentType> ComponentType for HostList<O, T> {
    type Lower = <[T] as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <[T] as ComponentType>::ABI;
    const MAY_REQUIRE_REALLOC: bool = <[T] as ComponentType>::MAY_REQUIRE_REALLOC;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[T] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: as above.
unsafe impl<O: Send + Sync, T: Lower> Lower for HostList<O, T> {
    fn linear_lower_to_flat<S>(
        &self,
        cx: &mut LowerContext<'_, S>,
        ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        self.elements().linear_lower_to_flat(cx, ty, dst)
    }

    fn linear_lower_to_memory<S>(
        &self,
        cx: &mut LowerContext<'_, S>,
        ty: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        self.elements().linear_lower_to_memory(cx, ty, offset)
    }
}

/// A `list<f32>` in the component's memory. wasmtime's `WasmList` supports only integers.
pub(crate) struct F32List(WasmList<u32>);

impl F32List {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bits of the elements.
    pub(crate) fn bits<'a>(&self, store: StoreContext<'a, State>) -> &'a [u32] {
        self.0.as_le_slice(store)
    }
}

// SAFETY: every item is that of `[f32]`, whose elements have the size and alignment of `u32`.
unsafe impl ComponentType for F32List {
    type Lower = <[f32] as ComponentType>::Lower;
    const ABI: CanonicalAbiInfo = <[f32] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[f32] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: a list of `u32` is checked and represented as one of `f32` is, and any bits are a `u32`.
unsafe impl Lift for F32List {
    fn linear_lift_from_flat(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        src: &Self::Lower,
    ) -> wasmtime::Result<Self> {
        WasmList::linear_lift_from_flat(cx, ty, src).map(Self)
    }

    fn linear_lift_from_memory(
        cx: &mut LiftContext<'_>,
        ty: InterfaceType,
        bytes: &[u8],
    ) -> wasmtime::Result<Self> {
        WasmList::linear_lift_from_memory(cx, ty, bytes).map(Self)
    }
}
