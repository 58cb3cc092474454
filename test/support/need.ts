/** Programs that some tests run and a machine may lack. Without one, its tests are skipped. */

/**
 * The path of an installed program, even if only root has it on PATH. Prints once if it is missing.
 * Use it as `test.skipIf(!path)`, so that its tests count as skipped.
 * @param source how to install it
 * @param path the result of another search: the path, or null if there is none
 */
export function need(
  name: string,
  source = `apt-get install ${name}`,
  path: string | null | undefined = Bun.which(name, { PATH: `${process.env.PATH}:${ELSEWHERE}` }),
): string | undefined {
  if (!path && !said.has(name)) console.log(`tests that need ${name} are skipped: ${source}`);
  said.add(name);
  return path ?? undefined;
}

const ELSEWHERE = '/usr/local/sbin:/usr/sbin:/usr/bin';
const said = new Set<string>();
