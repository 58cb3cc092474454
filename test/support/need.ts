/** The programs that some tests run and a machine may lack: without one its tests are skipped. */

/**
 * The path of an installed program, also of one that only root has on PATH. Where there is none that
 * is said once; use it as `test.skipIf(!path)`, so that what was not checked is counted as skipped.
 * @param source how it is to be had
 * @param path where it was looked for in another way, and found or not
 */
export function need(
  name: string,
  source = `apt-get install ${name}`,
  path: string | null | undefined = Bun.which(name, { PATH: `${process.env.PATH}:${ELSEWHERE}` }),
): string | undefined {
  if (!path && !said.has(name)) console.log(`skipped, what needs ${name}: ${source}`);
  said.add(name);
  return path ?? undefined;
}

const ELSEWHERE = '/usr/local/sbin:/usr/sbin:/usr/bin';
const said = new Set<string>();
