/** The style of the console's pages: calm, so that what needs attention is what stands out. */
export const STYLE = `:root{color-scheme:light dark;
--back:#f4f3ef;--panel:#fffefb;--edge:#dedbd2;--text:#1b2227;--soft:#5a646b;--grid:#8b939a2b;
--ok:#1f6f4a;--warn:#8a5200;--bad:#b3261e;--accent:#0b6377;--well:#ebe9e2;
--c1:#0b7285;--c2:#b4540a;--c3:#6a4fb3;--c4:#a3295f;--c5:#4d6b00;--c6:#59636b;
font:clamp(14px,.55rem + .32vw,26px)/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){:root{
--back:#0d1216;--panel:#141b21;--edge:#25303a;--text:#e3e8eb;--soft:#98a5af;--grid:#8fa0ad22;
--ok:#6cc79a;--warn:#e9b25c;--bad:#ff8a80;--accent:#62c8dc;--well:#1c262e;
--c1:#4fc3d9;--c2:#f0a35e;--c3:#ae9bf2;--c4:#f08bb4;--c5:#b5cf6b;--c6:#a5b1ba}}
*{box-sizing:border-box}
html{background:var(--back);color:var(--text);scroll-padding-top:5rem}
body{margin:0;min-height:100vh}
h1,h2,h3,p,ul,figure{margin:0;padding:0}
h2{font-size:1rem;font-weight:600;color:var(--soft);margin:2.25rem 0 .75rem}
h3{font-size:1rem;font-weight:600}
a{color:var(--accent);text-underline-offset:.2em;text-decoration-thickness:1px}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}
main:focus{outline:0}
[hidden]{display:none!important}
.unseen{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.sprite{position:absolute;width:0;height:0}
.icon,.sprite symbol{fill:none;stroke:currentColor;stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}
.icon{width:1.15em;height:1.15em;flex:none;vertical-align:-.2em}
.skip{position:absolute;left:1rem;top:-4rem;z-index:3;background:var(--panel);padding:.5rem 1rem;border-radius:6px}
.skip:focus{top:.6rem}

header{position:sticky;top:0;z-index:2;display:flex;flex-wrap:wrap;align-items:center;gap:.6rem 1.5rem;
padding:.7rem clamp(1rem,2.2vw,4rem);background:var(--back);border-bottom:1px solid var(--edge)}
.brand{display:flex;align-items:center;gap:.5rem;color:var(--text);font-weight:650;text-decoration:none}
.brand .icon{color:var(--accent);width:1.4em;height:1.4em;stroke-width:2}
.brand span{font-weight:400;color:var(--soft)}
form{display:flex;gap:.4rem;flex:1 1 14rem;max-width:34rem}
input,button{font:inherit;color:inherit;border:1px solid var(--edge);border-radius:6px;padding:.35rem .75rem;
background:var(--panel);min-height:2.4rem}
input{flex:1;min-width:0}input::placeholder{color:var(--soft);opacity:1}
input,button{border-color:color-mix(in srgb,var(--soft) 75%,transparent)}
button{cursor:pointer;white-space:nowrap}button:hover{background:var(--well)}
button[aria-pressed=true]{background:var(--text);color:var(--back);border-color:var(--text)}
.tools{display:flex;align-items:center;gap:1rem;margin-left:auto}
.tools button{display:flex;align-items:center;gap:.4rem}
#link{display:flex;align-items:center;gap:.4rem}
main{padding:0 clamp(1rem,2.2vw,4rem) 4rem;margin:0 auto}
.notice{display:flex;gap:.6rem;align-items:center;margin-top:1rem;padding:.7rem 1rem;border:1px solid;border-radius:8px;background:var(--panel)}

[data-state=ok]>.icon,.verdict[data-state=ok]{color:var(--ok)}
[data-state=warn]>.icon,.verdict[data-state=warn],td[data-state=warn]{color:var(--warn)}
[data-state=bad]>.icon,.verdict[data-state=bad],td[data-state=bad],#link[data-state=bad],.notice{color:var(--bad)}
[data-state=none]>.icon,[data-state=wait]>.icon{color:var(--soft)}

.headline{display:flex;flex-wrap:wrap;align-items:baseline;gap:.35rem 1.75rem;padding:1.1rem 0 1rem}
.headline h2{margin:0;font-size:1.15rem;color:var(--text);display:flex;align-items:center;gap:.5rem}
.headline ul{display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;list-style:none}
.headline li{display:flex;gap:.4rem}.headline li .icon{margin-top:.18em}
.headline a{color:inherit;text-decoration-color:var(--soft)}

.strip{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));
background:var(--panel);border:1px solid var(--edge);border-radius:12px;overflow:hidden}
.tile{padding:1.1rem 1.35rem 1.2rem;box-shadow:0 0 0 .5px var(--edge);display:flex;flex-direction:column}
.tile[data-state=warn]{box-shadow:inset 0 3px var(--warn),0 0 0 .5px var(--edge)}
.tile[data-state=bad]{box-shadow:inset 0 3px var(--bad),0 0 0 .5px var(--edge)}
.tile h3{color:var(--soft);font-weight:500}
.big{display:flex;align-items:baseline;gap:.45rem;line-height:1.2;margin:.15rem 0 .35rem}
.big b{font-size:clamp(2.4rem,1.6rem + 1.9vw,4rem);font-weight:600;letter-spacing:-.025em}
.unit{color:var(--soft)}
.verdict{display:flex;align-items:center;gap:.4rem;font-weight:550}
.words{color:var(--soft);margin-top:.3rem;min-height:3em;max-width:36ch;text-wrap:pretty}

.charts{display:grid;gap:1rem;grid-template-columns:repeat(12,minmax(0,1fr))}
.charts figure{grid-column:span 12}
.panel{background:var(--panel);border:1px solid var(--edge);border-radius:12px;padding:1rem 1.35rem 1.2rem;min-width:0}
figure{display:flex;flex-direction:column}
figcaption p{color:var(--soft);min-height:1.5em}
.plot{height:clamp(11rem,23vh,34rem);margin:.75rem 0 .6rem;min-width:0;overflow:hidden;touch-action:pan-y}
.u-vt .u-cursor-x,.u-hz .u-cursor-x{border-color:var(--soft)}
.uplot{font:inherit}
@media (min-width:70rem){.charts figure{grid-column:span 4}
.charts figure:first-child{grid-column:span 12}
.charts figure:nth-child(2){grid-column:span 7}.charts figure:last-child{grid-column:span 5}}
@media (min-width:70rem) and (max-width:119.99rem){.charts figure:first-child{display:grid;
grid-template-columns:minmax(0,1fr) 21rem;column-gap:2rem}
.charts figure:first-child figcaption{grid-column:1/-1}.charts figure:first-child .legend{align-self:center}}
@media (min-width:120rem){.charts figure:first-child{grid-column:span 5}
.charts figure:nth-child(2){grid-column:span 4}.charts figure:last-child{grid-column:span 3}}

table{border-collapse:collapse;width:100%}
th,td{text-align:left;font-weight:400;vertical-align:top;padding:.38rem 1rem .38rem 0;border-top:1px solid var(--edge);overflow-wrap:anywhere}
td:last-child,th:last-child{padding-right:0}
thead th{border-top:0;color:var(--soft);font-size:.93em;padding-top:0;white-space:nowrap}
small{display:block;color:var(--soft);font-size:.93em;line-height:1.35}
td .icon{margin-right:.4em}
.legend td,.legend thead th:not(:first-child),.facts td{text-align:right;white-space:nowrap}
.legend th,.legend td{padding-block:.2rem;border:0}
.legend td{min-width:5.5em}.legend th:first-child{width:99%}.legend tbody th{white-space:nowrap}
.legend thead th{padding-bottom:.1rem;height:1.7em}
.facts th{color:var(--soft)}.facts tr:first-child>*{border-top:0}
.stroke{width:1.75rem;height:4px;margin-right:.7rem;vertical-align:.22em;stroke-width:2.5;overflow:hidden}

.card{background:var(--panel);border:1px solid var(--edge);border-radius:12px;padding:1rem 1.35rem 1.2rem;margin-top:1rem;overflow-x:auto}
.card h2{margin:0 0 .75rem;color:var(--text)}.card>p{margin:.6rem 0}
.good{color:var(--ok)}.bad{color:var(--bad)}.muted,.card time{color:var(--soft)}
h1{font-size:1.35rem;font-weight:600;padding-top:1.2rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3rem 1.75rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
time span{white-space:nowrap}figure+table{margin-top:1rem}
caption{text-align:left;color:var(--soft);padding-bottom:.5rem}
code{font:.93em/1.5 ui-monospace,monospace}
.card svg:not(.icon){width:100%;height:auto;max-height:16rem}.card tbody th{white-space:nowrap}
.panels{display:grid;gap:1rem;grid-template-columns:minmax(0,1fr)}
.panels h3{margin-bottom:.6rem}h3 small{display:inline;font-weight:400}
[data-old] :is(td,th,b,a,.verdict,.words,li,h2){color:var(--soft)}[data-old] :is(.icon,i,canvas){opacity:.45}
.empty{color:var(--soft)}
#items td:nth-child(2),#items td:nth-child(3),#refused td:nth-child(2),#retried td:nth-child(2),#audit td:nth-child(2),#audit th:nth-child(2),
#items th:nth-child(2),#items th:nth-child(3),#refused thead th:nth-child(2),#retried thead th:nth-child(2){text-align:right;white-space:nowrap}
#items td:last-child,#refused td:last-child{width:30%;min-width:6.5rem}
#audit{grid-column:1/-1}#audit:has(table[hidden]){display:none}#audit small{white-space:pre-line}
.note{color:var(--soft);margin:-.5rem 0 .7rem}
#processes td:nth-child(2){white-space:nowrap}
i{display:block;height:4px;margin-top:.3rem;border-radius:2px;background:var(--well);overflow:hidden}
i b{display:block;height:100%;background:var(--c1);border-radius:2px}
[data-state=warn] i b{background:var(--warn)}
@media (max-width:64rem){.strip{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media (min-width:42rem){.panels{grid-template-columns:repeat(2,minmax(0,1fr))}#items{grid-column:span 2}}
@media (min-width:75rem){.panels{grid-template-columns:repeat(4,minmax(0,1fr))}}
@media (prefers-reduced-motion:no-preference){i b{transition:width .4s}.skip{transition:top .15s}}
@media (max-width:40rem){.strip{grid-template-columns:minmax(0,1fr)}header{position:static}form{order:3;flex-basis:100%;max-width:none}
.tile{padding:.8rem 1.1rem .9rem;display:grid;grid-template-columns:1fr auto;align-items:center}
.tile .verdict{grid-area:1/2}.tile>:nth-child(n+2):not(.verdict){grid-column:1/-1}.big{margin:0}.words{min-height:0;max-width:none}.panel{padding:.9rem 1.1rem 1rem}
th,td{padding-right:.7rem}#items td:last-child,#refused td:last-child{min-width:5.2rem}}
@media (max-width:48rem){.card{padding-inline:.9rem}.card tbody th{white-space:normal}.card :is(td,th) a{display:inline-block;min-width:6.8em}.card td{overflow-wrap:break-word}.card th,.card td{padding-right:.6rem}.card code{overflow-wrap:anywhere}}
@media (forced-colors:active){i b{background:Highlight}.tile,.panel{border:1px solid}}
`;
