// Pieces of a page: text that cannot break it, numbers that a program can read back, the style.
//
// A number is a `data` element: `value` is the exact one, `data-of` the JSON pointer (RFC 6901) of the
// same number in the report's JSON.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "mpo/core/svg.hpp"
#include "mpo/model/readable.hpp"

namespace mpo::detail {

/// Text from anywhere, between tags or in a quoted attribute.
[[nodiscard]] inline std::string html_escape(std::string_view raw) {
    return svg_escape(raw);
}

/// The shortest text that reads back as the same number.
template <class Number>
[[nodiscard]] std::string exact_number(Number value) {
    char digits[64];
    return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

/// `shown` to the reader, `value` to a program; pointer: of the same number in the JSON.
template <class Number>
[[nodiscard]] std::string datum(Number value, std::string_view shown, std::string_view pointer) {
    return concat("<data value=\"", exact_number(value), "\" data-of=\"", html_escape(pointer),
                  "\">", html_escape(shown), "</data>");
}

[[nodiscard]] inline std::string count_datum(Index value, std::string_view pointer) {
    return datum(value, readable_count(value), pointer);
}
[[nodiscard]] inline std::string bytes_datum(Index value, std::string_view pointer) {
    return datum(value, readable_bytes(value), pointer);
}

/// Digits behind the point that show an error: 0.42, 0.0123, 0.00012.
[[nodiscard]] std::string error_text(double error);
[[nodiscard]] inline std::string error_datum(double value, std::string_view pointer) {
    return datum(value, error_text(value), pointer);
}

/// "0.50": a share of what was before; "-" of nothing.
[[nodiscard]] std::string share_text(Index after, Index before);

/// <td data-l="label"><span>content</span></td>: the label stands beside the cell on narrow screens.
[[nodiscard]] std::string cell(std::string_view label, std::string_view content,
                               std::string_view style = "");

/// No style sheet, font or picture is fetched: the page carries all of it.
inline constexpr std::string_view page_style = R"css(
:root{color-scheme:light dark;--bg:#fff;--ink:#16191d;--soft:#59636e;--rule:#dde1e6;--wash:#f5f6f8;
--a:#0b62a8;--b:#b8480a;--gone:#b4bcc5}
.h0{--f:#faf8d1}.h1{--f:#d2e4b5}.h2{--f:#a4d2a3}.h3{--f:#6fbe9b}.h4{--f:#2ea99a}.h5{--f:#0b8e97}
.h6{--f:#06728e}.h7{--f:#065684}.h8{--f:#123780}
.h0,.h1,.h2,.h3,.h4,.h5{--t:#000}.h6,.h7,.h8{--t:#fff}
@media(prefers-color-scheme:dark){
:root{--bg:#14171a;--ink:#e6e9ec;--soft:#9aa5b0;--rule:#31373d;--wash:#1c2024;--a:#62aef0;--b:#f08a4b;--gone:#56606a}
.h0{--f:#1a2d51}.h1{--f:#114669}.h2{--f:#066179}.h3{--f:#0d7c84}.h4{--f:#16998b}.h5{--f:#4fb28a}
.h6{--f:#86c985}.h7{--f:#bddc83}.h8{--f:#f4ed8b}
.h0,.h1,.h2,.h3{--t:#fff}.h4,.h5,.h6,.h7,.h8{--t:#000}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 8px;overflow-wrap:anywhere}
h2{font-size:19px;line-height:1.3;margin:56px 0 4px}
h3{font-size:15px;margin:0 0 4px}
p{margin:0 0 8px;max-width:70ch}
.over,.how,figcaption span,dt,th{color:var(--soft)}
.over{margin:0 0 4px}.lead{font-size:18px;max-width:60ch}
.how{margin-bottom:20px}
code,.name{font-family:ui-monospace,"SF Mono",Consolas,"DejaVu Sans Mono",monospace;font-size:13px;overflow-wrap:anywhere;unicode-bidi:isolate}
.notes{margin:24px 0 0;padding:14px 18px;border-left:3px solid var(--b);background:var(--wash)}
.notes ul{margin:0;padding:0;list-style:none}.notes li+li{margin-top:4px}
.low{color:var(--a)}.chain{color:var(--b)}
.size{display:grid;grid-template-columns:230px 1fr;gap:4px 20px;align-items:center}
.size h3{grid-column:1/-1;margin:16px 0 0}.size p{margin:0}
.bars{padding:6px 0}.bar{display:flex;align-items:center;gap:8px;line-height:20px}
.bar i{display:block;flex:none;height:12px;background:var(--a);min-width:1px;width:calc(var(--w)*var(--most))}.size{--most:.62}.rank{--most:1}.bar.before i{background:var(--gone)}
.bar span{white-space:nowrap}.bar .rest{color:var(--soft)}
table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:5px 0 5px 14px;border-top:1px solid var(--rule);vertical-align:top}
th{font-weight:400;font-size:13px;vertical-align:bottom;line-height:1.3}
thead th{border-top:0}
th:first-child,td:first-child,.left{text-align:left}th:first-child,td:first-child{padding-left:0}
tbody th{color:var(--ink);font-size:15px;font-weight:600;vertical-align:top}
tfoot td,tfoot th{border-top:2px solid var(--rule)}tfoot th{color:var(--ink);font-size:15px;font-weight:600;vertical-align:top}
.keep{white-space:nowrap}.strip svg{display:inline-block;min-width:96px;vertical-align:-3px}
.soft{color:var(--soft)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(248px,1fr));gap:28px 20px}
.panels.wide{margin-bottom:20px;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr))}
figure{margin:0;min-width:0}.panels svg{width:100%}figcaption{line-height:1.35;margin-bottom:6px}figcaption b{margin-right:6px}
svg{display:block;max-width:100%;height:auto;font-family:inherit}
svg text{paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
.two{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:0 56px}
.heat{font-size:13px}.heat td,.heat th{padding:0 2px;height:22px;text-align:center;vertical-align:middle;border:2px solid var(--bg)}
.heat tbody th{font-weight:400;color:var(--soft);font-size:13px;text-align:right;padding-right:8px;overflow-wrap:anywhere;max-width:140px}
.heat td[class^=h]{background:var(--f);color:var(--t)}.heat td{width:12.3%}.heat thead th:first-child{text-align:right;padding-right:8px}
.scale{display:flex;margin:0 0 12px;font-size:12px;color:var(--soft)}
.scale span{flex:1 1 0;min-width:0}.scale i{display:block;height:12px;background:var(--f)}
.rank td{vertical-align:middle;white-space:nowrap}.rank td:first-child{white-space:normal}.rank .bar{width:110px;display:inline-flex;justify-content:flex-end;position:relative}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;margin:12px 0}dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:48px;color:var(--soft);font-size:13px}
@media(max-width:900px){.two{grid-template-columns:minmax(0,1fr)}}
@media(max-width:640px){
main{padding:24px 16px 48px}h1{font-size:24px}.lead{font-size:16px}h2{margin-top:40px}
.size{grid-template-columns:minmax(0,1fr)}.bars{padding:0 0 10px}.size{--most:.42}.bar span{white-space:normal}
.cards thead{display:none}.cards tr{display:block;padding:10px 0;border-top:1px solid var(--rule)}
.cards td,.cards th,.cards tfoot td,.cards tfoot th{display:flex;justify-content:space-between;gap:16px;border:0;padding:1px 0;text-align:right}
.cards td:empty{display:none}.cards th{font-size:17px}.cards td::before{content:attr(data-l);color:var(--soft);text-align:left}
.panels{grid-template-columns:minmax(0,1fr)}
.heat td,.heat th{padding:0}
.rank td:nth-child(2){display:none}.rank .name{font-size:12px}.rank td{padding-left:10px}.rank td:first-child{padding-left:0}
dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:8px}}
@media print{body{font-size:11px}section{break-inside:avoid}}
)css";

}  // namespace mpo::detail

#ifndef MPO_MODEL_COMPILED
#include "mpo/model/report_html_inl.hpp"
#endif
