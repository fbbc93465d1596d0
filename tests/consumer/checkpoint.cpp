// The umbrella of whole checkpoints compiles and links from its component alone.
#include "mpo/model.hpp"

int main() {}
