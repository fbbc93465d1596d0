// The strings of the fake device, where a test runs on it; null on a real one.
#pragma once

#include <dlfcn.h>

#include <string>

#include "fake_cuda.hpp"

namespace mpo::test {

class FakeDevice {
  public:
    /// Null where there is no fake.
    [[nodiscard]] static const FakeDevice* get() {
        static const FakeDevice fake;
        return fake.statistics_ != nullptr ? &fake : nullptr;
    }
    [[nodiscard]] fake_cuda::Statistics statistics() const {
        fake_cuda::Statistics now;
        statistics_(&now);
        return now;
    }
    void fail_call(long long n, bool in_execution) const { fail_call_(n, in_execution ? 1 : 0); }
    void set_devices(int error, int count) const { set_devices_(error, count); }
    void set_pools(bool has) const { set_pools_(has ? 1 : 0); }
    void no_convergence(const char* routine, int times) const { no_convergence_(routine, times); }
    [[nodiscard]] std::string take_faults() const { return take_faults_(); }

  private:
    template <class F>
    static void find(F*& function, const char* name) {
        function = reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
    }
    FakeDevice() {
        find(statistics_, "fake_cuda_statistics");
        find(fail_call_, "fake_cuda_fail_call");
        find(set_devices_, "fake_cuda_set_devices");
        find(set_pools_, "fake_cuda_set_pools");
        find(no_convergence_, "fake_cuda_no_convergence");
        find(take_faults_, "fake_cuda_take_faults");
    }

    decltype(fake_cuda_statistics)* statistics_ = nullptr;
    decltype(fake_cuda_fail_call)* fail_call_ = nullptr;
    decltype(fake_cuda_set_devices)* set_devices_ = nullptr;
    decltype(fake_cuda_set_pools)* set_pools_ = nullptr;
    decltype(fake_cuda_no_convergence)* no_convergence_ = nullptr;
    decltype(fake_cuda_take_faults)* take_faults_ = nullptr;
};

}  // namespace mpo::test
