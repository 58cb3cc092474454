/**
 * Draws ranks by Zipf's law. Hand-written: no npm package has YCSB's generator, and it is short.
 */

/**
 * The generator of J. Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD
 * 1994, section 3.2, which YCSB uses too (ZipfianGenerator, theta 0.99): the probability of rank i
 * is proportional to 1 / (i + 1)^theta. Ranks are not scrambled: rank 0, the most popular, is item
 * 0.
 *
 * @param theta from 0 (uniform) to below 1
 * @returns a function that draws a rank from 0 to n - 1
 */
export function zipf(n: number, theta: number, random: () => number): () => number {
  const zeta_n = zeta(n, theta);
  const alpha = 1 / (1 - theta);
  const eta = (1 - (2 / n) ** (1 - theta)) / (1 - zeta(2, theta) / zeta_n);
  const second = 1 + 0.5 ** theta;
  return () => {
    const u = random();
    if (u * zeta_n < 1) return 0;
    if (u * zeta_n < second) return 1;
    return Math.min(n - 1, Math.floor(n * (eta * u - eta + 1) ** alpha));
  };
}

function zeta(n: number, theta: number): number {
  let sum = 0;
  for (let i = 1; i <= n; i++) sum += 1 / i ** theta;
  return sum;
}
