// Package hotshoe has what most components need: settings, data files, lines in the log. `hotshoe build` generates the packages of the
// interfaces (`hotshoe/vision`, `hotshoe/tensors`, ...) from the WIT files.
package hotshoe

import (
	"hotshoe/config"
	"hotshoe/data"
	"hotshoe/log"
	"hotshoe/types"
	"math"
	"strconv"
	"strings"
)

// Text is a setting of the release, or `otherwise` if it is not set.
func Text(key, otherwise string) string {
	return config.Get(key).Or(otherwise)
}

// Number is a setting that is a number, or `otherwise` if it is not set; `invalid-input` for anything else.
func Number(key string, otherwise float64) (float64, error) {
	text, stated := config.Get(key).Get()
	if !stated {
		return otherwise, nil
	}
	number, err := strconv.ParseFloat(text, 64)
	// Go takes `1_0` for a number.
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) || strings.Contains(text, "_") {
		return 0, types.Invalid("the setting `" + key + "` is not a number: `" + text + "`")
	}
	return number, nil
}

// Whole is a setting that is a whole number from `least` to `most`, or `otherwise` if it is not set; `invalid-input` for
// anything else.
func Whole(key string, otherwise, least, most uint32) (uint32, error) {
	text, stated := config.Get(key).Get()
	if !stated {
		return otherwise, nil
	}
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil || uint32(number) < least || uint32(number) > most {
		return 0, types.Invalid("the setting `" + key + "` is not a number from " + strconv.Itoa(int(least)) + " to " +
			strconv.Itoa(int(most)) + ": `" + text + "`")
	}
	return uint32(number), nil
}

// Data is the whole content of a data file of the release.
func Data(name string) ([]byte, error) {
	return data.Read(name).Get()
}

// Info writes a line to the device's log; the other levels are in `hotshoe/log`.
func Info(message string) {
	log.Log(log.LevelInfo, message)
}
