/** Charts of a report, as SVG. */
import type { SeriesOption } from 'echarts';
import { type Axis, axis, colour, draw, FAINT, INK, SYMBOLS, short } from './drawing.ts';
import { band, type Series, whisker } from './spreads.ts';

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
