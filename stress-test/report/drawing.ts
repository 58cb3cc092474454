/**
 * What all charts share: ECharts draws SVG without a browser; colours follow the reader's theme.
 */
import { type EChartsOption, init, setPlatformAPI } from 'echarts';

export interface Axis {
  name: string;
  log?: boolean;
}

/** @returns SVG that scrolls sideways where the screen is narrower than its labels allow */
export function draw(title: string, series: { name: string }[], option: EChartsOption): string {
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
  const image = svg
    .replace(/(<svg[^>]*?) width="\d+" height="\d+"/, '$1') // the view box alone: it scales
    .replace('<svg ', `<svg role="img" aria-label="${escaped(title)}" `)
    .replaceAll(INK, `var(--ink,${INK})`)
    .replaceAll(FAINT, `var(--faint,${FAINT})`)
    .replaceAll(GRID, `var(--grid,${GRID})`);
  return `<div class="wide">${image}</div>`;
}

export function axis(o: Axis, where: 'bottom' | 'left', ticks: { customValues?: number[] } = {}) {
  return {
    type: o.log ? ('log' as const) : ('value' as const),
    name: o.log ? `${o.name} (log scale)` : o.name,
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

/** 1234567 as 1.23M: a chart shows no more than three digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '';
  const size = Math.abs(value);
  const [unit, name] = size >= 1e9 ? [1e9, 'G'] : size >= 1e6 ? [1e6, 'M'] : [1e3, 'k'];
  return size < 1e4 ? String(Number(value.toPrecision(4))) : `${trim(value / unit)}${name}`;
}

const trim = (value: number): string => String(Number(value.toPrecision(3)));

/** The reader's font is unknown here, so the estimate is wide: labels must not overlap. */
setPlatformAPI({
  measureText: (text, font) => {
    const size = Number(font?.match(/([0-9.]+)px/)?.[1] ?? 12);
    return { width: text.length * size * 0.62 };
  },
});

export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const [WIDTH, HEIGHT] = [920, 380];
export const SYMBOLS = [
  'circle',
  'rect',
  'triangle',
  'diamond',
  'emptyCircle',
  'emptyRect',
  'arrow',
];
const COLOURS = ['#3b82c4', '#dd7a1f', '#2f9e6e', '#c2417c', '#8a63d2', '#a8862a', '#6f7d8c'];
export const colour = (i: number): string => COLOURS[i % COLOURS.length] ?? INK;
/** Placeholders: the finished SVG names the page's colours, with these as fallback. */
export const INK = '#70757b';
export const FAINT = '#a3a8ae';
const GRID = '#a3a8af';
export const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
