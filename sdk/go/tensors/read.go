package tensors

import "hotshoe/types"

// Find returns the tensor of that name; `invalid-input` lists the names of the others.
func Find(all []NamedTensor, name string) (*Tensor, error) {
	names := ""
	for _, it := range all {
		if it.Name == name {
			return it.Tensor, nil
		}
		names += " " + it.Name
	}
	return nil, types.Invalid("there is no tensor `" + name + "`, only:" + names)
}

// Floats returns the elements of an f32 tensor; `invalid-input` for another element type.
func (self *Tensor) Floats() ([]float32, error) {
	if self.ElementType() != ElementTypeF32 {
		return nil, types.Invalid("the tensor is not of f32")
	}
	return self.ReadF32().Get()
}
