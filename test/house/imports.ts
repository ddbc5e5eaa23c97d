/**
 * Import direction (style guide, section 1): imports of src/ and plugins/ point down, type imports too.
 *
 * The rows below are the guide's table, highest first. Parts of one row do not import each other, except rightwards
 * along a chain (`a > b > c`). Files of one part may import each other, but never in a circle. Run by `npm run check`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const PLUGINS = 'plugins';

/** Each row is a list of chains; a chain is written as in the guide. */
const ROWS: readonly (readonly string[])[] = [
  ['cli > web', 'cli > devserver'],
  [PLUGINS],
  ['testing > index'],
  ['bot > plugin > rounds > router > context > trust'],
  ['inspect'],
  ['inbox', 'outbox', 'upkeep', 'provisioning', 'account', 'backup', 'doctor'],
  ['session > identities', 'service'],
  ['store', 'transport', 'content'],
  ['address > platform > bytes > errors > proto'],
];

/** All that a plugin may see of src/. */
const PUBLIC = new Set(['src/index.ts', 'src/rounds/index.ts', 'src/testing.ts']);
/** All that the cli may load of a plugin. */
const INDEX = /^plugins\/[^/]+\/index\.(ts|js)$/;

interface Import {
  readonly from: string;
  /** Path of the imported file, from the top of the repository. */
  readonly to: string;
  readonly dynamic: boolean;
  /** `export * from`: the mark of a barrel. */
  readonly all: boolean;
}

/** The relative imports of one file: `import`, `export from`, `import()` and `import('...')` in types. */
export function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (node: ts.Node | undefined, dynamic: boolean, all = false): void => {
    if (node === undefined || !ts.isStringLiteralLike(node) || !node.text.startsWith('.')) return;
    found.push({ from: file, to: posix.join(posix.dirname(file), node.text), dynamic, all });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, false);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, false, node.exportClause === undefined);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, false);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], true);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
  return found;
}

/** `src/store/level.ts` is of part `store`, `src/bot.ts` of `bot`, `plugins/echo/index.ts` of `plugins`. */
function partOf(file: string): string {
  const [top, second = ''] = file.split('/');
  return top === 'src' ? second.replace(/\.ts$/, '') : (top ?? '');
}

function rowOf(part: string): number {
  return ROWS.findIndex((row) => row.some((chain) => chain.split(' > ').includes(part)));
}

function isRightwards(from: string, to: string): boolean {
  return ROWS.flat().some((chain) => {
    const names = chain.split(' > ');
    return names.includes(from) && names.indexOf(from) < names.indexOf(to);
  });
}

/** What is wrong with one import; undefined when nothing is. */
function fault(item: Import): string | undefined {
  const from = partOf(item.from);
  const to = partOf(item.to);
  if (item.all && !PUBLIC.has(item.from) && !INDEX.test(item.from))
    return 'only the public entries are barrels';
  if (from === PLUGINS) return pluginFault(item);
  if (to === PLUGINS) {
    return from === 'cli' && item.dynamic && INDEX.test(item.to)
      ? undefined
      : "only the cli loads a plugin, by dynamic import of the plugin's index";
  }
  if (from === to) return undefined;
  if (rowOf(to) === -1) return `${to} has no row in the table`;
  if (to === 'devserver' && from !== 'cli') return 'only the cli and tests see the development server';
  if (from === 'devserver' && rowOf(to) < rowOf('store'))
    return 'the development server sees parts and leaves only';
  if (rowOf(to) > rowOf(from)) return undefined;
  if (rowOf(to) < rowOf(from)) return 'this points up';
  return isRightwards(from, to) ? undefined : 'this points sideways';
}

function pluginFault(item: Import): string | undefined {
  const own = item.from.split('/').slice(0, 2).join('/');
  if (item.to.startsWith(`${own}/`) || PUBLIC.has(item.to)) return undefined;
  return item.to.startsWith(`${PLUGINS}/`)
    ? 'plugins do not see each other'
    : 'a plugin sees the public entries and nothing deeper';
}

/** One circle per file that closes one, as a line of names. */
function circles(imports: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const item of imports) next.set(item.from, [...(next.get(item.from) ?? []), item.to]);
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (file: string, path: readonly string[]): void => {
    const start = path.indexOf(file);
    if (start >= 0) found.push([...path.slice(start), file].join(' -> '));
    if (start >= 0 || done.has(file)) return;
    for (const to of next.get(file) ?? []) walk(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) walk(file, []);
  return found;
}

/** @param files path from the top of the repository -> text @returns one line per fault */
export function checkImports(files: ReadonlyMap<string, string>): string[] {
  const imports = [...files].flatMap(([file, text]) => importsOf(file, text));
  const homeless = [...files.keys()].filter((file) => rowOf(partOf(file)) === -1);
  return [
    ...homeless.map((file) => `${file}: ${partOf(file)} has no row in the table`),
    ...imports.flatMap((item) => {
      const wrong = fault(item);
      return wrong === undefined ? [] : [`${item.from} imports ${item.to}: ${wrong}`];
    }),
    ...circles(imports).map((circle) => `circle: ${circle}`),
  ];
}

function main(): void {
  const top = fileURLToPath(new URL('../..', import.meta.url));
  const names = ['src', PLUGINS]
    .filter((folder) => existsSync(`${top}/${folder}`))
    .flatMap((folder) =>
      readdirSync(`${top}/${folder}`, { recursive: true }).map((name) => `${folder}/${String(name)}`),
    )
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts') && !name.startsWith('src/proto/'));
  const faults = checkImports(new Map(names.map((name) => [name, readFileSync(`${top}/${name}`, 'utf8')])));
  for (const line of faults) process.stderr.write(`${line}\n`);
  process.stdout.write(`imports: ${String(names.length)} files, ${String(faults.length)} faults\n`);
  process.exitCode = faults.length > 0 || names.length === 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
