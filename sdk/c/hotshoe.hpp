// Helpers for a component in C++: handles that drop themselves, lists that free themselves, and failures as values.
//
// The namespace `hotshoe` wraps the interfaces of wit/: `Image::resize` is `resize` of wit/vision.wit. If a function is not wrapped, call that of the
// generated `wit.h`.
#pragma once

#include "hotshoe/base.hpp"
#include "hotshoe/host.hpp"
#include "hotshoe/insight.hpp"
#include "hotshoe/nn.hpp"
#include "hotshoe/vision.hpp"
#include "hotshoe/world.hpp"
