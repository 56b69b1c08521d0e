// What a component in C++ is written with: handles that drop themselves, lists that free themselves, and failures as values.
//
// Everything is in the namespace `hotshoe` and stands for what wit/ describes: `Image::resize` is `resize` of wit/vision.wit. Where something is
// not wrapped, call the function of the generated `wit.h`.
#pragma once

#include "hotshoe/base.hpp"
#include "hotshoe/host.hpp"
#include "hotshoe/insight.hpp"
#include "hotshoe/nn.hpp"
#include "hotshoe/vision.hpp"
#include "hotshoe/world.hpp"
