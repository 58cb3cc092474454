/** `bun deploy/pin-images.ts`: asks the registries for the digests of our images, and pins the files to them. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { readArguments } from '../apps/runtime/arguments.ts';

const HELP = `Writes the digest behind every image tag into deploy/Dockerfile, compose.yaml and k8s/.
Run it again to follow tags that moved; without a change it writes nothing. All or nothing.

  bun deploy/pin-images.ts [--check] [--mirror URL]

  --check         writes nothing; exits 1 if a file is not pinned to what its tag is now
  --mirror URL    a registry that has all images, in the place of their own (http://localhost:5000)
  --help          this text`;

const TOP = new URL('../', import.meta.url);
/** `image: name:tag` of YAML and the base of the Dockerfile: lead, name, tag, digest if there is one. */
const IMAGE =
  /^(ARG BUN_IMAGE=|\s*(?:- )?image: ["']?)([a-z0-9][a-z0-9._/:-]*?):([\w][\w.-]*)(@sha256:[0-9a-f]{64})?(?=["'\s]|$)/gm;
/** What is built here has no digest in a registry. */
const OURS = /^(?:kassa|.*\/kassa|example\.com\/.*)$/;
const MANIFESTS = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

try {
  await main();
} catch (error) {
  console.error(`pin-images: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}

async function main(): Promise<void> {
  const { check, mirror } = readArguments(HELP, {
    check: { type: 'boolean', default: false },
    mirror: { type: 'string' },
  });
  const files = await Promise.all(
    (await pathsOf()).map(async (path) => ({ path, text: await readFile(url(path), 'utf8') })),
  );
  const found = files.flatMap(({ text }) => [...text.matchAll(IMAGE)]);
  const tags = new Set(found.filter(([, , name = '']) => !OURS.test(name)).map(tagOf));
  const digests = new Map<string, string>();
  for (const tag of [...tags].sort()) {
    digests.set(tag, await digestOf(tag, mirror));
    console.log(`${tag}  ${digests.get(tag)}`);
  }
  let changed = 0;
  for (const { path, text } of files) {
    const pinned = text.replace(IMAGE, (...match: string[]) => {
      const digest = digests.get(tagOf(match));
      return digest ? `${match[1]}${tagOf(match)}@${digest}` : (match[0] ?? '');
    });
    if (pinned === text) continue;
    changed++;
    console.log(`${path} ${check ? 'is behind' : 'written'}`);
    if (!check) await writeFile(url(path), pinned);
  }
  if (changed === 0) console.log('every image is pinned to what its tag is now');
  if (check && changed > 0) process.exit(1);
}

function url(path: string): URL {
  return new URL(path, TOP);
}

function tagOf(match: readonly (string | undefined)[]): string {
  return `${match[2]}:${match[3]}`;
}

async function pathsOf(): Promise<string[]> {
  const manifests = await readdir(url('k8s/'), { recursive: true }).catch(() => []);
  const yaml = manifests.filter((path) => path.endsWith('.yaml')).sort();
  return ['deploy/Dockerfile', 'compose.yaml', ...yaml.map((path) => `k8s/${path}`)];
}

/** @returns `sha256:…` of the tag's index, which stands for all its platforms */
async function digestOf(tag: string, mirror: string | undefined): Promise<string> {
  const [, name = '', version = ''] = /^(.+):([^:]+)$/.exec(tag) ?? [];
  const [host = '', ...rest] = name.split('/');
  const foreign = rest.length > 0 && /[.:]|^localhost$/.test(host);
  const repository = foreign ? rest.join('/') : rest.length > 0 ? name : `library/${name}`;
  const registry = mirror ?? (foreign ? `https://${host}` : 'https://registry-1.docker.io');
  const address = `${registry.replace(/\/$/, '')}/v2/${repository}/manifests/${version}`;
  const first = await ask(address, tag);
  const answer = first.status === 401 ? await ask(address, tag, await tokenFor(first, tag)) : first;
  const digest = answer.headers.get('docker-content-digest') ?? '';
  if (answer.ok && /^sha256:[0-9a-f]{64}$/.test(digest)) return digest;
  const why = answer.status === 404 ? 'has no such image' : `answers ${answer.status}`;
  throw new Error(`${tag}: ${new URL(registry).host} ${why}; nothing was written`);
}

async function ask(address: string, tag: string, token?: string): Promise<Response> {
  const headers = { accept: MANIFESTS, ...(token && { authorization: `Bearer ${token}` }) };
  const options = { method: 'HEAD', headers, signal: AbortSignal.timeout(20_000) };
  return fetch(address, options).catch((cause) => {
    const { host } = new URL(address);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${tag}: cannot reach ${host} (${why}); nothing was written`);
  });
}

/** A token to read with, from where the registry sends everybody: nobody logs in. */
async function tokenFor(refusal: Response, tag: string): Promise<string> {
  const challenge = refusal.headers.get('www-authenticate') ?? '';
  const of = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? '';
  if (!of('realm')) throw new Error(`${tag}: the registry wants a login; nothing was written`);
  const address = new URL(of('realm'));
  address.searchParams.set('service', of('service'));
  address.searchParams.set('scope', of('scope'));
  const answer = await fetch(address, { signal: AbortSignal.timeout(20_000) });
  const { token, access_token } = (await answer.json()) as Record<string, string>;
  return token ?? access_token ?? '';
}
