// The floor: parsing, nothing used.
#include "mpo/mpo.hpp"

int main() {}
