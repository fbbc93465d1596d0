#include "support/onednn.hpp"

#ifdef MPO_BENCH_ONEDNN
#include <omp.h>

#include <dnnl.hpp>
#endif

namespace mpo::bench::onednn {

#ifdef MPO_BENCH_ONEDNN

namespace {

using dnnl::memory;

[[nodiscard]] memory::desc described(Index rows, Index cols, memory::data_type type,
                                     memory::format_tag tag) {
    return {{rows, cols}, type, tag};
}

}  // namespace

const std::string& refusal() {
    static const std::string text;
    return text;
}

bool has_bf16_tiles() {
    return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_amx;
}

void set_threads(int threads) {
    omp_set_num_threads(threads);
}

struct InnerProduct::State {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    dnnl::inner_product_forward product;
    memory weights, from, to, X, Y;
    bool converts = false;
};

InnerProduct::InnerProduct(const float* W, Index out, Index in, Index batch, bool bf16)
    : state_(std::make_unique<State>()) {
    using Tag = memory::format_tag;
    auto& s = *state_;
    const auto f32 = memory::data_type::f32;
    const auto type = bf16 ? memory::data_type::bf16 : f32;
    const dnnl::inner_product_forward::primitive_desc primitive(
        {dnnl::prop_kind::forward_inference, described(batch, in, type, Tag::nc),
         described(out, in, type, Tag::any), described(batch, out, type, Tag::nc)},
        s.engine);
    const auto plain = described(out, in, f32, Tag::nc);
    memory given(plain, s.engine, const_cast<float*>(W));
    s.weights = memory(primitive.weights_desc(), s.engine);
    dnnl::reorder(given, s.weights).execute(s.stream, given, s.weights);
    s.stream.wait();
    s.product = dnnl::inner_product_forward(primitive);
    s.X = memory(described(batch, in, f32, Tag::nc), s.engine, nullptr);
    s.Y = memory(described(batch, out, f32, Tag::nc), s.engine, nullptr);
    s.converts = bf16;
    if (bf16) {
        s.from = memory(primitive.src_desc(), s.engine);
        s.to = memory(primitive.dst_desc(), s.engine);
    }
}

InnerProduct::~InnerProduct() = default;

void InnerProduct::apply(const float* X, float* Y) {
    auto& s = *state_;
    if (!s.converts) {
        s.X.set_data_handle(const_cast<float*>(X));
        s.Y.set_data_handle(Y);
    }
    s.product.execute(s.stream, {{DNNL_ARG_SRC, s.converts ? s.from : s.X},
                                 {DNNL_ARG_WEIGHTS, s.weights},
                                 {DNNL_ARG_DST, s.converts ? s.to : s.Y}});
    s.stream.wait();
}

#else

const std::string& refusal() {
    static const std::string text = "built without oneDNN";
    return text;
}
bool has_bf16_tiles() {
    return false;
}
void set_threads(int) {}

struct InnerProduct::State {};
InnerProduct::InnerProduct(const float*, Index, Index, Index, bool) {
    throw BackendError(refusal());
}
InnerProduct::~InnerProduct() = default;
void InnerProduct::apply(const float*, float*) {}

#endif

}  // namespace mpo::bench::onednn
