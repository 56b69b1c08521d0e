// Package component makes garbage in every way that a component in Go can: lists of the host, lists of its own, and pictures that it never
// drops; it runs several goroutines, and it panics at every hundredth sample. Its insight says how often it was called and how often Go's
// collector ran.
package component

import (
	"bytes"
	"hotshoe/samples"
	"hotshoe/types"
	"hotshoe/vision"
	"runtime"
	"sync"
)

var calls int

// first is the payload as the first call read it, kept as the host gave it.
var first []byte

func Process(sample *samples.Sample) (types.Insight, error) {
	calls++
	if calls%100 == 0 {
		panic("at every hundredth sample")
	}
	if first == nil {
		first = sample.Read()
	}
	if _, err := vision.Decode(sample).Get(); err != nil {
		return types.Insight{}, err
	}
	var wait sync.WaitGroup
	same := [4]bool{}
	for number := range same {
		wait.Go(func() {
			payload := sample.Read()
			runtime.Gosched()
			same[number] = bytes.Equal(payload, first)
			// What is written into a list of one's own changes no other.
			clear(payload)
		})
	}
	wait.Wait()
	if same != [4]bool{true, true, true, true} {
		return types.Insight{}, types.Internal("a list was changed by another call of the host")
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return types.MakeInsightScalars([]types.Scalar{
		{Name: "calls", Value: float64(calls)},
		{Name: "collections", Value: float64(stats.NumGC)},
	}), nil
}
