"""How the pages look: one style sheet for light and dark, wide and narrow, screen and paper."""

from __future__ import annotations

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
    "ground": "#ffffff",
    "raised": "#f5f7f9",
    "ink": "#1c2127",
    "soft": "#525b65",
    "line": "#d3d9df",
    "kept": "#2f6fb5",
    "dropped": "#b4500f",
    "other": "#6f7a86",
    "warm": "#fff3e6",
}
DARK: Mapping[str, str] = {
    "ground": "#12161b",
    "raised": "#1b2128",
    "ink": "#e4e8ec",
    "soft": "#a3aeb9",
    "line": "#333c46",
    "kept": "#5a9fe0",
    "dropped": "#e8945a",
    "other": "#8c97a3",
    "warm": "#2c2013",
}
"""Colours by role. Text (`ink`, `soft`) has a contrast of at least 4.5 on the grounds, marks of at least 3 (WCAG 2.2)."""


def _variables(colours: Mapping[str, str]) -> str:
    return "".join(f"--{role}:{colour};" for role, colour in colours.items())


STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
    + """
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1.25rem 3rem;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.6rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1.02rem;margin:1.6rem 0 .4rem}
p,ul{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
.soft,.remark,caption,footer{color:var(--soft)}
.remark{display:block;font-size:.82rem;font-weight:400}
code{font:0.86em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
a{color:var(--kept)}
a:focus-visible,summary:focus-visible,.wide:focus-visible{outline:2px solid var(--kept);outline-offset:2px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:1rem 0 0;font-size:.92rem;max-width:none}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.6rem,1fr));gap:.6rem;margin:1.1rem 0}
.cards div{background:var(--raised);border:1px solid var(--line);border-radius:.4rem;padding:.55rem .75rem}
.cards dt{font-size:.82rem;color:var(--soft)}
.cards dd{margin:0;font-size:1.28rem;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:.7rem 0 1.1rem}
table{border-collapse:collapse;width:100%;font-size:.92rem}
caption{text-align:left;font-size:.86rem;padding-bottom:.3rem}
th,td{text-align:left;vertical-align:top;padding:.26rem .8rem .26rem 0;border-bottom:1px solid var(--line)}
thead th{font-weight:600;font-size:.82rem;color:var(--soft);vertical-align:bottom}
tbody th{font-weight:400;min-width:8rem}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
thead .number{white-space:normal}
td.bar,th.bar{width:30%;min-width:5rem;padding-right:0}
.name{overflow-wrap:anywhere;unicode-bidi:isolate}
.quoted{overflow-wrap:anywhere;unicode-bidi:isolate;font-weight:400;font-size:.88rem}
svg{display:block}
.bar svg{width:100%;height:.8rem;margin-top:.3rem}
.k{fill:var(--kept)}.d{fill:var(--dropped)}.o{fill:var(--other)}.g{fill:var(--line)}
.funnel{list-style:none;padding:0;margin:1rem 0;max-width:none}
.funnel>li{display:grid;grid-template-columns:minmax(7rem,2fr) 3fr;gap:0 1.4rem}
.shape{position:relative;min-height:3rem}
.shape svg{position:absolute;inset:0;width:100%;height:calc(100% + 1px)}
.step{padding:.45rem 0 .8rem}
.step h3{margin:0}
.step p{margin:.1rem 0}
.step ul{margin:.25rem 0 0;padding:0;list-style:none;font-size:.9rem}
.step ul{display:grid;grid-template-columns:minmax(3.4rem,auto) 1fr;gap:.16rem .7rem}
.step li{display:contents}
.step li b{font-weight:600;font-variant-numeric:tabular-nums;text-align:right}
.alarm{border-left:.3rem solid var(--dropped);background:var(--warm);padding:.6rem .9rem;margin:.8rem 0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:0 2rem}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.86rem;color:var(--soft);margin:.4rem 0}
.key svg{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;vertical-align:-.05rem}
.facts{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.2rem 1.2rem;margin:.8rem 0;font-size:.92rem}
.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--kept);font-size:.92rem}
footer{margin-top:3rem;padding-top:.8rem;border-top:1px solid var(--line);font-size:.88rem}
@media (max-width:34rem){
body{padding:1rem .9rem 2rem;font-size:15px}
.funnel>li{grid-template-columns:4.6rem 1fr;gap:0 .9rem}
.step ul{grid-template-columns:auto 1fr}
th,td{padding-right:.6rem}
tbody th{min-width:6.5rem}
td.bar,th.bar{width:22%;min-width:3.6rem}
.many .bar,.many .less{display:none}
.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:.5rem}
}
@media print{
:root{color-scheme:light;"""
    + _variables(LIGHT)
    + """}
body{max-width:none;padding:0;font-size:10.5pt}
nav{display:none}
section,tr,.cards div,.funnel>li{break-inside:avoid}
section{break-inside:auto}
h2,h3{break-after:avoid}
.wide{overflow:visible}
svg{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""
)
"""The content of the page's only `<style>` element."""
