//! The report's look: one style sheet, light and dark.

pub(super) const CSS: &str = "\
:root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--ink:#1d1f21;--soft:#62686f;--line:#dfe1e3;\
--good:#2a7f9e;--bad:#c8553d;--ok:#2d8a57;--warn:#b8860b;--mark:#7a3fb0}\
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--card:#1e2125;--ink:#e6e8ea;--soft:#9aa1a9;\
--line:#33383e;--good:#5cb3d1;--bad:#ec8068;--ok:#58bd85;--warn:#dcb04a;--mark:#b78be0}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',\
Roboto,sans-serif}\
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}\
h1{font-size:26px;margin:0 0 4px;letter-spacing:-.01em}\
h2{font-size:18px;margin:40px 0 8px}\
p{margin:4px 0 12px;max-width:75ch}\
.soft,figcaption,small{color:var(--soft)}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px;margin:20px 0}\
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}\
.tile b{display:block;font-size:25px;font-weight:650;letter-spacing:-.02em;\
font-variant-numeric:tabular-nums}\
.tile span{color:var(--soft);font-size:13px;display:block}\
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;\
margin:12px 0;overflow-x:auto}\
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:12px}\
.two .card{margin:0}\
svg{width:100%;height:auto;display:block}\
svg text{fill:var(--soft);font:12px system-ui,sans-serif}\
.good{fill:var(--good)}.bad{fill:var(--bad)}.neutral{fill:var(--good)}\
.axis{stroke:var(--line)}.mark{stroke:var(--mark);stroke-dasharray:4 3;stroke-width:1.5}\
svg text.mark{stroke:none;fill:var(--mark)}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line)}\
th{color:var(--soft);font-weight:500}td.n,th.n{text-align:right}\
.bar{background:var(--line);border-radius:4px;height:8px;min-width:120px;overflow:hidden}\
.bar i{display:block;height:100%;background:var(--bad)}\
.strip{display:flex;flex-wrap:wrap;gap:2px}\
.strip i{width:10px;height:10px;border-radius:2px;background:var(--good);opacity:.45}\
.strip i.c{background:var(--bad);opacity:.75}\
.strip i.f{background:var(--warn);opacity:1;outline:2px solid var(--warn)}\
.strip i.e{background:transparent;opacity:1;outline:2px solid var(--bad)}\
.key{display:flex;flex-wrap:wrap;gap:6px 18px;margin:10px 0 0;font-size:13px;color:var(--soft)}\
.key .strip{display:inline-flex;margin-right:6px;vertical-align:-1px}\
figure{margin:0 0 18px}figure img{max-width:100%;height:auto;border-radius:8px;display:block;\
border:1px solid var(--line)}\
figcaption{font-size:13px;margin-top:4px}\
code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace;background:var(--line);\
padding:1px 5px;border-radius:4px}\
@media print{body{background:#fff}.card,.tile,figure{break-inside:avoid}}";
