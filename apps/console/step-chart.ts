/** A chart of a balance that stays until the next change, as SVG made on the server. */
import { html } from 'hono/html';
import { type Html, number, shortTime } from './search-page.ts';

export interface Step {
  /** In microseconds since 1970; 0 if unknown. */
  at: number;
  balance: number;
}

/** Of the drawing; the page scales it. */
const [WIDTH, HEIGHT, MARGIN] = [600, 160, 20];

/** @param steps the oldest first, each as wide as the others, since changes come in bursts */
export function stepChart(title: string, steps: readonly Step[]): Html | '' {
  const [first, last] = [steps[0], steps.at(-1)];
  if (!first || !last) return '';
  const balances = steps.map(({ balance }) => balance);
  const [low, high] = [Math.min(...balances), Math.max(...balances)];
  const y = (balance: number) => {
    const share = high === low ? 0.5 : (balance - low) / (high - low);
    return Math.round(HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN));
  };
  const x = (i: number) => Math.round((10 * WIDTH * i) / steps.length) / 10;
  const path = steps.map(({ balance }, i) => `V${y(balance)}H${x(i + 1)}`).join('');
  const span = `${steps.length} entries, from ${said(first.at)} to ${said(last.at)}`;
  const words = `${span}: the lowest is ${number(low)}, the highest ${number(high)}, the last ${number(last.balance)}.`;
  return html`<figure class="figure">
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="chart-title chart-words">
<title id="chart-title">${title}</title>
<desc id="chart-words">${words}</desc>
<path d="M0 ${y(first.balance)}${path}" fill="none" stroke="currentColor" stroke-width="2"/>
<text x="0" y="${MARGIN - 6}" font-size="12" fill="currentColor">${number(high)}</text>
<text x="0" y="${HEIGHT - 4}" font-size="12" fill="currentColor">${number(low)}</text>
</svg>
<figcaption>${title}. ${words}</figcaption>
</figure>`;
}

const said = (at: number): string => (at > 0 ? shortTime(at) : 'an unknown time');
