// expect: error.*mpo: -ffast-math .or -Ofast. removes the NaN checks and error bounds
// flags: -ffast-math
#include "mpo/mpo.hpp"

int main() {}
