// Package component makes a model's input of a picture: it decodes it, scales it to the model's size, and gives numbers from 0 to 1.
package component

import (
	"hotshoe"
	"hotshoe/samples"
	"hotshoe/tensors"
	"hotshoe/vision"
	"hotshoe/wit"
)

// unit multiplies 0..255 by 1 / 255, subtracts the mean and divides by the standard deviation. A mean of 0 and a deviation of 1 change nothing.
var unit = vision.Normalisation{
	Layout:   vision.LayoutNchw,
	Channels: vision.ChannelsRgb,
	Scale:    1.0 / 255,
	Mean:     wit.Tuple3[float32, float32, float32]{F0: 0, F1: 0, F2: 0},
	Std:      wit.Tuple3[float32, float32, float32]{F0: 1, F1: 1, F2: 1},
}

// Prepare is called for every sample. It returns the model's inputs, under their names in the model.
func Prepare(sample *samples.Sample) ([]tensors.NamedTensor, error) {
	width, err := hotshoe.Whole("width", 32, 1, 4096)
	if err != nil {
		return nil, err
	}
	height, err := hotshoe.Whole("height", 32, 1, 4096)
	if err != nil {
		return nil, err
	}
	// Pictures and tensors stay with the host; the component holds handles. Drop releases a handle.
	picture, err := vision.Decode(sample).Get()
	if err != nil {
		return nil, err
	}
	defer picture.Drop()
	small, err := vision.Resize(picture, width, height, vision.FilterBilinear).Get()
	if err != nil {
		return nil, err
	}
	defer small.Drop()
	tensor, err := vision.Normalise([]*vision.Image{small}, width, height, unit).Get()
	if err != nil {
		return nil, err
	}
	return []tensors.NamedTensor{{Name: hotshoe.Text("input", "x"), Tensor: tensor}}, nil
}
