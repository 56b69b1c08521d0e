// Package component makes boxes of the outputs of a centre-point detector such as CenterFace.
//
// The model gives three maps, a quarter of the picture's size. For each point they have the probability that it is the centre of an object
// (heatmap), the object's height and width (scale, as logarithms), and the position of its centre within the point (offset).
package component

import (
	"hotshoe"
	"hotshoe/samples"
	"hotshoe/tensors"
	"hotshoe/types"
	"hotshoe/vision"
	"math"
	"slices"
)

const (
	// stride is the number of pixels of the model's picture for each point of its maps.
	stride = 4
	// maxCandidates is the maximum number of boxes that are compared with each other.
	maxCandidates = 1000
)

// heads are the three maps, all of the same height and width.
type heads struct {
	height, width       int
	heat, scale, offset []float32
}

// box has two corners, in pixels of the model's picture.
type box struct {
	score          float32
	x1, y1, x2, y2 float64
}

// Interpret is called after the model, with the sample and the model's outputs.
func Interpret(sample *samples.Sample, outputs []tensors.NamedTensor) (types.Insight, error) {
	minScore, err := hotshoe.Number("min-score", 0.5)
	if err != nil {
		return types.Insight{}, err
	}
	maxOverlap, err := hotshoe.Number("max-overlap", 0.3)
	if err != nil {
		return types.Insight{}, err
	}
	maps, err := read(outputs)
	if err != nil {
		return types.Insight{}, err
	}
	picture, err := vision.Decode(sample).Get()
	if err != nil {
		return types.Insight{}, err
	}
	defer picture.Drop()

	kept := suppress(candidates(maps, minScore), maxOverlap)

	// From the model's picture to the sample's.
	fx := float64(picture.Width()) / float64(stride*maps.width)
	fy := float64(picture.Height()) / float64(stride*maps.height)
	label := hotshoe.Text("label", "face")
	found := make([]types.Detection, 0, len(kept))
	for _, it := range kept {
		found = append(found, types.Detection{
			Label: label,
			Score: it.score,
			Bounds: types.Rect{
				X:      float32(it.x1 * fx),
				Y:      float32(it.y1 * fy),
				Width:  float32((it.x2 - it.x1) * fx),
				Height: float32((it.y2 - it.y1) * fy),
			},
		})
	}
	return types.MakeInsightDetections(found), nil
}

func read(outputs []tensors.NamedTensor) (heads, error) {
	var maps heads
	heat, shape, err := floats(outputs, hotshoe.Text("heatmap", "537"))
	if err != nil {
		return maps, err
	}
	if len(shape) != 4 || shape[0] != 1 || shape[1] != 1 {
		return maps, types.Invalid("the heatmap's shape is not [1, 1, height, width]")
	}
	pair := []uint32{1, 2, shape[2], shape[3]}
	scale, scaleShape, err := floats(outputs, hotshoe.Text("scale", "538"))
	if err != nil {
		return maps, err
	}
	offset, offsetShape, err := floats(outputs, hotshoe.Text("offset", "539"))
	if err != nil {
		return maps, err
	}
	if !slices.Equal(scaleShape, pair) || !slices.Equal(offsetShape, pair) {
		return maps, types.Invalid("scale and offset are not of the shape [1, 2, height, width] of the heatmap")
	}
	return heads{int(shape[2]), int(shape[3]), heat, scale, offset}, nil
}

func floats(outputs []tensors.NamedTensor, name string) ([]float32, []uint32, error) {
	tensor, err := tensors.Find(outputs, name)
	if err != nil {
		return nil, nil, err
	}
	elements, err := tensor.Floats()
	return elements, tensor.Shape(), err
}

// candidates makes a box of every point above `minScore`, best first.
func candidates(maps heads, minScore float64) []box {
	var points []int
	for at, score := range maps.heat {
		if float64(score) > minScore {
			points = append(points, at)
		}
	}
	// The sort is stable: equal scores keep the order of the points.
	slices.SortStableFunc(points, func(a, b int) int {
		if maps.heat[a] > maps.heat[b] {
			return -1
		} else if maps.heat[a] < maps.heat[b] {
			return 1
		}
		return 0
	})
	boxes := make([]box, 0, min(len(points), maxCandidates))
	for _, at := range points[:min(len(points), maxCandidates)] {
		boxes = append(boxes, boxAt(maps, at))
	}
	return boxes
}

func boxAt(maps heads, at int) box {
	second := at + maps.height*maps.width
	right, bottom := float64(stride*maps.width), float64(stride*maps.height)
	// The conversions stop the compiler from fusing two operations, which would round differently from other languages.
	height := math.Exp(float64(maps.scale[at])) * stride
	width := math.Exp(float64(maps.scale[second])) * stride
	centreY := (float64(at/maps.width) + float64(maps.offset[at]) + 0.5) * stride
	centreX := (float64(at%maps.width) + float64(maps.offset[second]) + 0.5) * stride
	x1 := clamp(float64(centreX)-float64(width/2), right)
	y1 := clamp(float64(centreY)-float64(height/2), bottom)
	return box{
		score: maps.heat[at],
		x1:    x1,
		y1:    y1,
		x2:    min(x1+float64(width), right),
		y2:    min(y1+float64(height), bottom),
	}
}

// suppress drops every box that overlaps a better one too much.
func suppress(boxes []box, maxOverlap float64) []box {
	var kept []box
	for _, it := range boxes {
		covered := slices.ContainsFunc(kept, func(better box) bool { return overlap(it, better) > maxOverlap })
		if !covered {
			kept = append(kept, it)
		}
	}
	return kept
}

// overlap is the common area as a share of both boxes together (IoU): 1 for the same box, 0 for boxes that do not touch.
func overlap(a, b box) float64 {
	width := max(0, min(a.x2, b.x2)-max(a.x1, b.x1))
	height := max(0, min(a.y2, b.y2)-max(a.y1, b.y1))
	common := float64(width * height)
	union := area(a) + area(b) - common
	if union > 0 {
		return common / union
	}
	return 0
}

func area(it box) float64 {
	return float64((it.x2 - it.x1) * (it.y2 - it.y1))
}

func clamp(value, highest float64) float64 {
	return min(max(value, 0), highest)
}
