// Runs the snippets of a page and compares what they print with what the page shows.
#pragma once

#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

/// Takes std::cout for itself as long as it lives.
class Page {
  public:
    Page() : console_(std::cout.rdbuf(text_.rdbuf())) {}
    ~Page() { std::cout.rdbuf(console_); }
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;

    /// The block at `place` shows what was printed since the last one.
    void printed(std::string_view place, std::string_view shown) {
        const std::string got = text_.str();
        text_.str({});
        if (got == shown) return;
        ++faults_;
        std::cerr << place << ": the code printed\n" << got << "instead of\n" << shown;
    }
    [[nodiscard]] int faults() const { return faults_; }

  private:
    std::ostringstream text_;
    std::streambuf* console_;
    int faults_ = 0;
};

/// Number of faults on one page; an exception that leaves it is one.
inline int run_page(const char* name, void (*run)(Page&)) {
    Page page;
    try {
        run(page);
    } catch (const std::exception& error) {
        std::cerr << name << ": the code threw\n" << error.what() << '\n';
        return page.faults() + 1;
    }
    return page.faults();
}
