// Package component is a whole pipeline: it makes a model's input of a picture, runs the model through `wasi:nn`, and returns the classes with their scores.
//
// `wasi:nn` is WebAssembly's standard interface for models. Hotshoe's own interface, `hotshoe/infer`, does the same without a copy of the tensor.
package component

import (
	"encoding/binary"
	"errors"
	"hotshoe"
	"hotshoe/samples"
	"hotshoe/types"
	"hotshoe/vision"
	nn "hotshoe/wasi_nn_graph"
	"hotshoe/wasi_nn_inference"
	"hotshoe/wasi_nn_tensor"
	"hotshoe/wit"
	"math"
	"slices"
	"strconv"
	"strings"
)

// bgr is the input of models from PaddlePaddle: blue first, from -1 to 1.
var bgr = vision.Normalisation{
	Layout:   vision.LayoutNchw,
	Channels: vision.ChannelsBgr,
	Scale:    1.0 / 255,
	Mean:     wit.Tuple3[float32, float32, float32]{F0: 0.5, F1: 0.5, F2: 0.5},
	Std:      wit.Tuple3[float32, float32, float32]{F0: 0.5, F1: 0.5, F2: 0.5},
}

// Process is called for every sample.
func Process(sample *samples.Sample) (types.Insight, error) {
	input, err := makeInput(sample)
	if err != nil {
		return types.Insight{}, err
	}
	scores, err := run(hotshoe.Text("model", "classifier"), hotshoe.Text("input", "x"), input)
	if err != nil {
		return types.Insight{}, err
	}
	names, err := labels()
	if err != nil {
		return types.Insight{}, err
	}
	return types.MakeInsightClasses(bestFirst(scores, names)), nil
}

// makeInput returns the picture as a tensor of `wasi:nn`, which has its own type of tensors.
func makeInput(sample *samples.Sample) (*wasi_nn_tensor.Tensor, error) {
	width, err := hotshoe.Whole("width", 192, 1, 4096)
	if err != nil {
		return nil, err
	}
	height, err := hotshoe.Whole("height", 48, 1, 4096)
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
	tensor, err := vision.Normalise([]*vision.Image{small}, width, height, bgr).Get()
	if err != nil {
		return nil, err
	}
	defer tensor.Drop()
	shape := []uint32{1, 3, height, width}
	return wasi_nn_tensor.MakeTensor(shape, wasi_nn_tensor.TensorTypeFp32, tensor.ReadBytes()), nil
}

// run gives the first output of a model of the release. An error of `wasi:nn` becomes an error of the sample, with its code and text.
func run(model, input string, tensor *wasi_nn_tensor.Tensor) ([]float32, error) {
	graph, err := nn.LoadByName(model).Get()
	if err != nil {
		return nil, err
	}
	defer graph.Drop()
	context, err := graph.InitExecutionContext().Get()
	if err != nil {
		return nil, err
	}
	defer context.Drop()
	inputs := []wasi_nn_inference.NamedTensor{{F0: input, F1: tensor}}
	outputs, err := context.Compute(inputs).Get()
	if err != nil {
		return nil, err
	}
	for _, output := range outputs {
		defer output.F1.Drop()
	}
	if len(outputs) == 0 {
		return nil, types.Internal("the model `" + model + "` has no output")
	}
	bytes := outputs[0].F1.Data()
	scores := make([]float32, len(bytes)/4)
	for index := range scores {
		scores[index] = math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*index:]))
	}
	return scores, nil
}

// labels are the names of the classes, one a line. There are none if the release has no such file.
func labels() ([]string, error) {
	text, err := hotshoe.Data("labels")
	var failure types.Error
	if errors.As(err, &failure) && failure.Code == types.ErrorCodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

func bestFirst(scores []float32, names []string) []types.Class {
	classes := make([]types.Class, 0, len(scores))
	for index, score := range scores {
		label := ""
		if index < len(names) {
			label = strings.TrimSuffix(names[index], "\r")
		}
		if label == "" {
			label = strconv.Itoa(index)
		}
		classes = append(classes, types.Class{Label: label, Index: uint32(index), Score: score})
	}
	// The sort is stable: equal scores keep the order of the model.
	slices.SortStableFunc(classes, func(a, b types.Class) int {
		if a.Score > b.Score {
			return -1
		} else if a.Score < b.Score {
			return 1
		}
		return 0
	})
	return classes
}
