// Package main is what is compiled: the exports of the world, which call the author's package.
package main

import _ "hotshoe/wit_exports"

// Go asks for it; the host calls exports only.
func main() {}
