// Macros as <windows.h> defines them, behind the headers of others, which need not survive them.
#pragma once

#include <algorithm>
#include <chrono>
#include <complex>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <regex>
#include <sstream>
#include <thread>

#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
