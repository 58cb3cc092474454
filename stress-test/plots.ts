/** Pages with plots, without scripts: ECharts draws the SVG here, colours follow the reader's theme. */
import { cpus, release, totalmem, type } from 'node:os';
import { type EChartsOption, init, type SeriesOption, setPlatformAPI } from 'echarts';

export interface Series {
  name: string;
  points: (readonly [x: number, y: number])[];
  /** Low and high at each x. */
  spread?: (readonly [low: number, high: number])[];
}

interface Axis {
  name: string;
  log?: boolean;
}

/** A line for each series over x, with a band from low to high where there is a spread. As SVG. */
export function lineChart(o: { title: string; x: Axis; y: Axis; series: Series[] }): string {
  const xs = [...new Set(o.series.flatMap((one) => one.points.map(([x]) => x)))];
  const ticks = o.x.log && xs.length <= 16 ? { customValues: xs } : {};
  const series = o.series.flatMap((one, i): SeriesOption[] => {
    const positive = (value: number, axis: Axis) => (axis.log && value <= 0 ? Number.NaN : value);
    const points = one.points.map(([x, y]) => [positive(x, o.x), positive(y, o.y)]);
    const line: SeriesOption = {
      type: 'line',
      name: one.name,
      data: points,
      symbol: SYMBOLS[i % SYMBOLS.length] ?? 'circle',
      symbolSize: 7,
      showSymbol: points.length <= 25,
      lineStyle: { width: 2 },
      color: colour(i),
    };
    return one.spread ? [band(one, i, o.y.log === true), line] : [line];
  });
  return draw(o.title, o.series, {
    xAxis: { ...axis(o.x, 'bottom', ticks), min: 'dataMin', max: 'dataMax' },
    yAxis: axis(o.y, 'left'),
    series,
  });
}

/** A group of bars for each category, with whiskers from low to high where there is a spread. */
export function barChart(o: {
  title: string;
  categories: string[];
  y: Axis;
  series: {
    name: string;
    values: (number | null)[];
    spread?: (readonly [number, number] | null)[];
  }[];
}): string {
  const gaps = { barGap: '12%', barCategoryGap: '30%', barMaxWidth: 64 };
  const labelled = o.categories.length * o.series.length <= 24;
  const bars = o.series.map(
    (one, i): SeriesOption => ({
      type: 'bar',
      name: one.name,
      data: one.values.map((value, at) => ({
        value: value === null || (o.y.log && value <= 0) ? '-' : value,
        label: { show: labelled && !one.spread?.[at] },
      })),
      color: colour(i),
      itemStyle: { borderRadius: [2, 2, 0, 0] },
      ...gaps,
      label: {
        position: 'top',
        color: INK,
        fontSize: 11,
        formatter: (p) => short(Number(p.value)),
      },
    }),
  );
  const whiskers = o.series.flatMap((one, i) =>
    one.spread ? [whisker(one.values, one.spread, i, o.series.length, gaps, labelled)] : [],
  );
  const lowest = Math.min(
    ...o.series.flatMap((one) => one.values.filter((v) => v && v > 0)).map(Number),
  );
  const floor = 10 ** Math.floor(Math.log10(lowest) - 0.01);
  const rotated = o.categories.join('').length > 90;
  return draw(o.title, o.series, {
    xAxis: {
      type: 'category',
      data: o.categories,
      axisTick: { show: false },
      axisLine: { lineStyle: { color: FAINT } },
      axisLabel: { color: INK, fontSize: 12, interval: 0, rotate: rotated ? 30 : 0 },
    },
    yAxis: { ...axis(o.y, 'left'), ...(o.y.log ? { min: floor, startValue: floor } : {}) },
    series: [...bars, ...whiskers],
  });
}

export interface Section {
  heading: string;
  text?: string;
  html: string;
}

export function htmlTable(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const line = (tag: string, cells: readonly unknown[]) =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(String(cell))}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => line('td', row)).join('\n');
  const table = `<thead>${line('th', head)}</thead><tbody>\n${body}\n</tbody>`;
  return `<div class="wide"><table>${table}</table></div>`;
}

/** A complete document. Headings, texts and facts are escaped; `html` of a section is not. */
export function htmlPage(
  title: string,
  facts: Record<string, string>,
  sections: Section[],
): string {
  const list = Object.entries(facts)
    .map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`)
    .join('\n');
  const parts = sections.map(({ heading, text, html }) => {
    const said = text ? `<p>${escaped(text)}</p>\n` : '';
    return `<section>\n<h2>${escaped(heading)}</h2>\n${said}${html}\n</section>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<dl>
${list}
</dl>
${parts.join('\n')}
</main>
</body>
</html>
`;
}

/** What a figure depends on, and nothing that names a machine or a person. */
export function describeMachine(): Record<string, string> {
  const cores = cpus();
  return {
    CPU: cores[0]?.model.trim() || 'unknown',
    Cores: String(cores.length),
    Memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    System: `${type()} ${release()} ${process.arch}`,
    Bun: Bun.version,
    Date: `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
  };
}

const [WIDTH, HEIGHT] = [920, 380];
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'emptyCircle', 'emptyRect', 'arrow'];
const COLOURS = ['#3b82c4', '#dd7a1f', '#2f9e6e', '#c2417c', '#8a63d2', '#a8862a', '#6f7d8c'];
const colour = (i: number): string => COLOURS[i % COLOURS.length] ?? INK;
/** They stand for the page's colours, which the finished SVG names, with these to fall back on. */
const INK = '#70757b';
const FAINT = '#a3a8ae';
const GRID = '#a3a8af';
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Low to high as a filled shape behind its line. */
function band(one: Series, i: number, log: boolean): SeriesOption {
  const low = (value: number) => (log && value <= 0 ? Number.MIN_VALUE : value);
  const data = one.points.map(([x, y], at) => [x, ...(one.spread?.[at] ?? [y, y])]);
  const known = log ? data.filter(([, , high]) => Number(high) > 0) : data;
  return {
    type: 'custom',
    name: one.name,
    data: known,
    dimensions: ['x', 'low', 'high'],
    encode: { x: 0, y: [1, 2] },
    silent: true,
    clip: true,
    z: 1,
    color: colour(i),
    renderItem: (params, api) => {
      if (params.dataIndex !== 0) return null;
      const edge = (n: 1 | 2) => known.map((d) => api.coord([d[0] ?? 0, low(d[n] ?? 0)]));
      const points = [...edge(2), ...edge(1).reverse()];
      return {
        type: 'polygon',
        shape: { points },
        style: { fill: colour(i), opacity: 0.18 },
      };
    },
  };
}

/** A vertical line with caps over each bar of its series, and above it the bar's value. */
function whisker(
  values: (number | null)[],
  spread: readonly (readonly [number, number] | null)[],
  i: number,
  count: number,
  gaps: { barGap: string; barCategoryGap: string; barMaxWidth: number },
  labelled: boolean,
): SeriesOption {
  return {
    type: 'custom',
    data: spread.flatMap((pair, at) => (pair ? [[at, ...pair]] : [])),
    encode: { x: 0, y: [1, 2] },
    silent: true,
    z: 3,
    renderItem: (_, api) => {
      const x = api.value(0);
      const middle = api.barLayout?.({ ...gaps, count })?.[i]?.offsetCenter ?? 0;
      const at = (n: 1 | 2) => api.coord([x, api.value(n)]);
      const [[x0 = 0, low = 0], [, high = 0]] = [at(1), at(2)];
      const centre = x0 + middle;
      const stroke = (x1: number, y1: number, x2: number, y2: number) => ({
        type: 'line' as const,
        shape: { x1, y1, x2, y2 },
        style: { stroke: INK, lineWidth: 1.5 },
      });
      const cap = (y: number) => stroke(centre - 5, y, centre + 5, y);
      const value = labelled ? short(values[Number(x)] ?? Number.NaN) : '';
      const label = {
        type: 'text' as const,
        x: centre,
        y: high - 5,
        style: {
          text: value,
          fill: INK,
          fontSize: 11,
          fontFamily: FONT,
          align: 'center' as const,
          verticalAlign: 'bottom' as const,
        },
      };
      return {
        type: 'group',
        children: [stroke(centre, low, centre, high), cap(low), cap(high), label],
      };
    },
  };
}

function axis(o: Axis, where: 'bottom' | 'left', ticks: { customValues?: number[] } = {}) {
  return {
    type: o.log ? ('log' as const) : ('value' as const),
    name: o.name,
    nameLocation: where === 'left' ? ('end' as const) : ('middle' as const),
    nameGap: where === 'left' ? 14 : 30,
    nameTextStyle: {
      color: INK,
      fontSize: 12,
      ...(where === 'left' ? { align: 'left' as const, padding: [0, 0, 0, -40] } : {}),
    },
    axisLine: { show: where === 'bottom', onZero: false, lineStyle: { color: FAINT } },
    axisTick: { show: where === 'bottom', lineStyle: { color: FAINT }, ...ticks },
    axisLabel: { ...ticks, color: INK, fontSize: 12, hideOverlap: true, formatter: short },
    splitLine: { show: where === 'left', lineStyle: { color: GRID, width: 1 } },
    minorSplitLine: { show: false },
  };
}

/** 1234567 as 1.23M: three digits are what a plot can tell. */
function short(value: number): string {
  if (!Number.isFinite(value)) return '';
  const size = Math.abs(value);
  const [unit, name] = size >= 1e9 ? [1e9, 'G'] : size >= 1e6 ? [1e6, 'M'] : [1e3, 'k'];
  return size < 1e4 ? String(Number(value.toPrecision(4))) : `${trim(value / unit)}${name}`;
}

const trim = (value: number): string => String(Number(value.toPrecision(3)));

/** Without a screen nobody knows the reader's font: rather too wide than over each other. */
setPlatformAPI({
  measureText: (text, font) => {
    const size = Number(font?.match(/([0-9.]+)px/)?.[1] ?? 12);
    return { width: text.length * size * 0.62 };
  },
});

function draw(title: string, series: { name: string }[], option: EChartsOption): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height: HEIGHT });
  const names = [...new Set(series.map((one) => one.name))];
  chart.setOption({
    animation: false,
    backgroundColor: 'transparent',
    textStyle: { fontFamily: FONT },
    title: { text: title, left: 8, top: 4, textStyle: { color: INK, fontSize: 15 } },
    legend: {
      show: names.length > 1,
      data: names,
      left: 8,
      top: 32,
      itemWidth: 18,
      itemHeight: 9,
      itemGap: 16,
      textStyle: { color: INK, fontSize: 12 },
    },
    grid: { left: 60, right: 24, top: names.length > 1 ? 96 : 76, bottom: 52 },
    ...option,
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg
    .replace('<svg ', `<svg role="img" aria-label="${escaped(title)}" `)
    .replaceAll(INK, `var(--ink,${INK})`)
    .replaceAll(FAINT, `var(--faint,${FAINT})`)
    .replaceAll(GRID, `var(--grid,${GRID})`);
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const STYLE = `
:root{--paper:#fff;--card:#f6f8fa;--ink:#24292f;--soft:#57606a;--faint:#8c959f;--grid:#e3e7eb}
@media (prefers-color-scheme:dark){
:root{--paper:#14181d;--card:#1c2128;--ink:#dde3ea;--soft:#9aa5b1;--faint:#6b7681;--grid:#2d343c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 ${FONT}}
main{max-width:1000px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:8px 0 16px}
h2{font-size:19px;margin:36px 0 8px}
p{margin:0 0 12px;color:var(--soft);max-width:75ch}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:10px 20px;margin:0;
padding:14px 16px;background:var(--card);border-radius:8px}
dt{font-size:12px;color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
svg{display:block;max-width:100%;height:auto;margin:8px 0 16px}
.wide{overflow-x:auto;margin:8px 0 16px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:5px 14px 5px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:600}
@media print{main{max-width:none;padding:0}section{break-inside:avoid}}
`;
