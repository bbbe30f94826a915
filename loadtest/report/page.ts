// The look of the HTML report, light and dark, and the little script that reads a chart out under the pointer. Pure.

export const STYLE = `
:root{--bg:#f7f8fa;--card:#fff;--ink:#1b2430;--soft:#5c6b7d;--line:#e3e8ee;--grid:#edf0f4;
--p50:#8fb8e8;--p95:#2f6fd0;--p99:#15386f;--ok:#159a80;--shed:#d98a12;--failed:#cf3d4b;--ideal:#9aa7b6;--cpu:#7a5bd0;--memory:#b0568f;
--good:#0e7f68;--good-bg:#dcf3ed;--bad:#b32636;--bad-bg:#fbe3e5;--warn:#8a5a00;--warn-bg:#fbeecd;
--s1:#7ba7c9;--s2:#e3a23b;--s3:#79b77f;--s4:#4c63d2;--s5:#b177c9;--s6:#c8d0d9;--band:#f1f4f8;--band-bad:#fdf0f1}
@media (prefers-color-scheme:dark){:root{--bg:#10151c;--card:#18202a;--ink:#e6ecf3;--soft:#94a3b5;--line:#2a3542;--grid:#232d39;
--p50:#3f6ea8;--p95:#62a0f5;--p99:#c3dcff;--ok:#35c4a5;--shed:#f0ab3f;--failed:#f2707c;--ideal:#66768a;--cpu:#a48bf0;--memory:#dd86bd;
--good:#4fd6b8;--good-bg:#12352f;--bad:#ff8d98;--bad-bg:#40191f;--warn:#f3c265;--warn-bg:#3a2c0e;
--s1:#6f9fc4;--s2:#e0a548;--s3:#6fb078;--s4:#7c90f5;--s5:#bd8ad6;--s6:#465362;--band:#1c2530;--band-bad:#2b1c22}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1120px;margin:0 auto;padding:40px 24px 64px}
.kicker{margin:0;color:var(--soft);font-size:13px;letter-spacing:.02em}
h1{font-size:27px;line-height:1.28;font-weight:650;letter-spacing:-.012em;margin:10px 0 8px;text-wrap:balance}
h2{font-size:17px;font-weight:650;margin:34px 0 12px}
.sub{margin:0;color:var(--soft)}
.badge{display:inline-block;vertical-align:3px;font-size:13px;font-weight:650;letter-spacing:.03em;text-transform:uppercase;padding:3px 10px;border-radius:99px;margin-right:6px}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
.badge.good{background:var(--good-bg)}.badge.bad{background:var(--bad-bg)}.badge.warn{background:var(--warn-bg)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin:26px 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 18px 12px}
.tiles span{display:block;color:var(--soft);font-size:13px}
.tiles strong{display:block;font-size:30px;font-weight:640;letter-spacing:-.02em;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles small{font-size:17px;font-weight:500;color:var(--soft)}
.tiles em{font-style:normal;color:var(--soft);font-size:12.5px}
.callout{background:var(--warn-bg);color:var(--warn);border-radius:10px;padding:10px 16px;margin:0 0 16px}.callout p{margin:2px 0}
.grid{display:grid;grid-template-columns:1fr 1fr;gap:16px}
@media (max-width:860px){.grid{grid-template-columns:1fr}main{padding:24px 14px}h1{font-size:22px}}
.chart{position:relative;background:var(--card);border:1px solid var(--line);border-radius:12px;margin:0 0 16px;padding:16px 18px 10px}
.grid .chart{margin:0 0 16px}
figcaption{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;margin-bottom:8px}
figcaption b{font-weight:620}
figcaption span{color:var(--soft);font-size:13px;flex:1;min-width:200px}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;list-style:none;margin:0;padding:0;font-size:13px;color:var(--soft)}
.legend li::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;vertical-align:4px;margin-right:6px;background:var(--tone)}
.wide .legend li::before{height:10px;width:10px;vertical-align:-1px}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11.5px;fill:var(--soft);font-variant-numeric:tabular-nums}
.grid-line,.grid line{stroke:var(--grid)}
.axis{stroke:var(--line)}
.series path{fill:none;stroke:var(--tone);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.series path.area{stroke:none;fill:var(--tone);opacity:.13}
.series circle{fill:var(--card);stroke:var(--tone);stroke-width:1.8}
.series.ideal path{stroke-width:1.3;stroke-dasharray:3 4}
.p50{--tone:var(--p50)}.p95{--tone:var(--p95)}.p99{--tone:var(--p99)}.ok{--tone:var(--ok)}.shed{--tone:var(--shed)}.failed{--tone:var(--failed)}
.ideal{--tone:var(--ideal)}.cpu{--tone:var(--cpu)}.memory{--tone:var(--memory)}
.mark line{stroke-width:1.4;stroke-dasharray:5 4;stroke:var(--tone)}
.mark text{fill:var(--tone);font-weight:600;paint-order:stroke;stroke:var(--card);stroke-width:3px}
.limit-bad{--tone:var(--failed)}.limit-good{--tone:var(--ok)}
.band rect{fill:transparent}.band-a rect{fill:var(--band)}.band-bad rect{fill:var(--band-bad)}
.band text{font-size:10.5px}
.cursor{stroke:var(--soft);stroke-width:1;opacity:0;pointer-events:none}
.chart:hover .cursor.on{opacity:.55}
.tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--bg);border-radius:8px;padding:7px 11px;font-size:12.5px;line-height:1.5;white-space:nowrap;opacity:0;transition:opacity .1s;z-index:2;font-variant-numeric:tabular-nums}
.tip b{font-weight:600}
.stack text{fill:var(--ink)}.stack .total{fill:var(--soft)}
.stage-upload{--tone:var(--s1)}.stage-queue{--tone:var(--s2)}.stage-decode{--tone:var(--s3)}.stage-infer{--tone:var(--s4)}.stage-encode{--tone:var(--s5)}.stage-rest{--tone:var(--s6)}
rect[class^=stage]{fill:var(--tone)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:8px 12px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--soft);font-weight:500}
th:first-child{text-align:left;font-weight:560}
td.verdict,thead th:last-child{text-align:left}
td.verdict{font-weight:560}
pre{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 18px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0 0 16px;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
dl{display:grid;grid-template-columns:max-content 1fr;gap:6px 22px;margin:0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
@media (max-width:600px){dl{grid-template-columns:1fr}dd{margin-bottom:8px}}
@media print{body{background:#fff}.chart,.scroll{break-inside:avoid}}
`;

/** Shows the values nearest to the pointer. Positions were computed with the drawing; here is only a search. */
export const SCRIPT = `
for(const figure of document.querySelectorAll('[data-chart]')){
const data=JSON.parse(figure.dataset.chart),svg=figure.querySelector('svg'),cursor=figure.querySelector('.cursor');
const tip=document.createElement('div');tip.className='tip';figure.append(tip);
const all=data.series.flatMap(s=>s.points);
const show=v=>data.percent?Math.round(v*100)+' %':(Math.abs(v)>=100?v.toFixed(0):Number(v.toPrecision(3)))+(data.unit?' '+data.unit:'');
svg.addEventListener('pointermove',event=>{
const box=svg.getBoundingClientRect(),scale=svg.viewBox.baseVal.width/box.width,at=(event.clientX-box.left)*scale;
let best=all[0];for(const point of all)if(Math.abs(point[0]-at)<Math.abs(best[0]-at))best=point;
if(!best)return;
cursor.classList.add('on');cursor.setAttribute('x1',best[0]);cursor.setAttribute('x2',best[0]);
tip.replaceChildren();const head=document.createElement('b');head.textContent=Number(best[1].toPrecision(4))+' '+data.xUnit;tip.append(head);
for(const s of data.series){const p=s.points.find(p=>p[1]===best[1]);if(p){tip.append(document.createElement('br'),s.name+'  '+show(p[2]))}}
const own=figure.getBoundingClientRect(),x=best[0]/scale+box.left-own.left,right=x>own.width*.6;
tip.style.left=right?'auto':x+14+'px';tip.style.right=right?own.width-x+14+'px':'auto';
tip.style.top=box.top-own.top+16+'px';tip.style.opacity=1});
svg.addEventListener('pointerleave',()=>{tip.style.opacity=0;cursor.classList.remove('on')});
}`;
