#include "mpo/model/readable.hpp"

#include <string>

#include "support/catch.hpp"

TEST_CASE("readable: three digits and a prefix") {
    using mpo::readable_count;
    for (const auto& [number, text] :
         {std::pair<mpo::Index, std::string>{0, "0"},
          {7, "7"},
          {999, "999"},
          {1000, "1.00 k"},
          {9994, "9.99 k"},
          {9995, "10.0 k"},
          {9996, "10.0 k"},
          {99949, "99.9 k"},
          {99951, "100 k"},
          {999499, "999 k"},
          {999500, "1.00 M"},
          {53084160, "53.1 M"},
          {mpo::Index{2} * 1000 * 1000 * 1000, "2.00 G"},
          {mpo::Index{5} * 1000 * 1000 * 1000 * 1000 * 1000, "5000 T"}})
        CHECK(readable_count(number) == text);
    CHECK(mpo::readable_bytes(0) == "0 B");
    CHECK(mpo::readable_bytes(999) == "999 B");
    CHECK(mpo::readable_bytes(162688896) == "163 MB");
}
