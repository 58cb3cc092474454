/** The spread of several measurements in a chart: a band behind a line, whiskers on bars. */
import type { SeriesOption } from 'echarts';
import { colour, FONT, INK, short } from './drawing.ts';

export interface Series {
  name: string;
  points: (readonly [x: number, y: number])[];
  /** Low and high at each x. */
  spread?: (readonly [low: number, high: number])[];
}

/** Low to high as a filled shape behind its line. */
export function band(one: Series, i: number, log: boolean): SeriesOption {
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
export function whisker(
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
