//! The stable names of errors of crates that only this program has.

use std::error::Error;

use hotshoe_audit::AuditError;
use hotshoe_daemon::command::CommandError;
use hotshoe_daemon::control::ControlError;
use hotshoe_delivery::registry::RegistryError;
use hotshoe_drift::{BaselineError, MonitorError};
use hotshoe_infer::fold::FoldError;
use hotshoe_infer::inspect::InspectError;
use hotshoe_link::OrderError;
use hotshoe_link::device_list::DeviceListError;
use hotshoe_oip::OipError;
use hotshoe_page::PageError;
use hotshoe_release::exit::find;
use hotshoe_rollout::RolloutError;
use hotshoe_shared_data::{SharedDataError, StoreError};
use hotshoe_telemetry::TelemetryError;

use crate::commands::audit::AuditCommandError;
use crate::commands::power::PowerError;
use crate::commands::sbom::SbomError;
use crate::commands::top::TopError;
use crate::data_folder::DataFolderError;
use crate::fleet::error::FleetError;

/// The stable name of one link of an error's chain.
pub(crate) fn name<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a str> {
    of_full(cause)
        .or_else(|| find::<TopError>(cause).map(TopError::name))
        .or_else(|| find::<AuditError>(cause).map(AuditError::name))
        .or_else(|| find::<AuditCommandError>(cause).map(AuditCommandError::name))
        .or_else(|| find::<PowerError>(cause).map(PowerError::name))
        .or_else(|| find::<SbomError>(cause).map(SbomError::name))
        .or_else(|| find::<BaselineError>(cause).map(BaselineError::name))
        .or_else(|| find::<MonitorError>(cause).map(MonitorError::name))
        .or_else(|| find::<InspectError>(cause).map(InspectError::name))
        .or_else(|| find::<FoldError>(cause).map(FoldError::name))
        .or_else(|| find::<OipError>(cause).map(OipError::name))
        .or_else(|| find::<PageError>(cause).map(PageError::name))
        .or_else(|| find::<TelemetryError>(cause).map(TelemetryError::name))
        .or_else(|| find::<DataFolderError>(cause).map(DataFolderError::name))
        .or_else(|| find::<FleetError>(cause).map(FleetError::name))
        .or_else(|| find::<CommandError>(cause).map(CommandError::name))
        .or_else(|| find::<SharedDataError>(cause).map(SharedDataError::name))
        .or_else(|| find::<StoreError>(cause).map(StoreError::name))
        .or_else(|| find::<ControlError>(cause).map(ControlError::name))
        .or_else(|| find::<DeviceListError>(cause).map(DeviceListError::name))
        .or_else(|| find::<OrderError>(cause).map(OrderError::name))
        .or_else(|| find::<RolloutError>(cause).map(RolloutError::name))
        .or_else(|| find::<RegistryError>(cause).and_then(registry_name))
}

/// The names of what a program for devices does not have.
#[cfg(feature = "full")]
fn of_full<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a str> {
    use hotshoe_author::build::ComponentError;
    use hotshoe_author::{NewError, ToolError};
    use hotshoe_collect::{ReceiveError, StoreError as CollectError};

    use crate::commands::baseline::InputsError;
    use crate::commands::call::CallError;
    use crate::commands::model::ModelError;
    use crate::commands::record::RecordError;
    use crate::commands::runtime::RuntimeError;
    use crate::commands::soak::SoakError;
    use crate::commands::test::TestError;
    use crate::oci::OciError;
    use crate::program::ProgramError;

    None.or_else(|| find::<NewError>(cause).map(NewError::name))
        .or_else(|| find::<ComponentError>(cause).map(ComponentError::name))
        .or_else(|| find::<ToolError>(cause).map(ToolError::name))
        .or_else(|| find::<TestError>(cause).map(TestError::name))
        .or_else(|| find::<CallError>(cause).map(CallError::name))
        .or_else(|| find::<RecordError>(cause).map(RecordError::name))
        .or_else(|| find::<ModelError>(cause).map(ModelError::name))
        .or_else(|| find::<RuntimeError>(cause).map(RuntimeError::name))
        .or_else(|| find::<SoakError>(cause).map(SoakError::name))
        .or_else(|| find::<InputsError>(cause).map(InputsError::name))
        .or_else(|| find::<OciError>(cause).and_then(OciError::name))
        .or_else(|| find::<ProgramError>(cause).map(ProgramError::name))
        .or_else(|| find::<ReceiveError>(cause).map(ReceiveError::name))
        .or_else(|| find::<CollectError>(cause).map(CollectError::name))
}

#[cfg(not(feature = "full"))]
fn of_full<'a>(_: &'a (dyn Error + 'static)) -> Option<&'a str> {
    None
}

/// The name of a registry's error. Errors of files and folders are named by the next error in the chain.
fn registry_name(error: &RegistryError) -> Option<&'static str> {
    match error {
        RegistryError::Toml(_) | RegistryError::Config(_) | RegistryError::Open(_) => None,
        error => Some(error.name()),
    }
}
