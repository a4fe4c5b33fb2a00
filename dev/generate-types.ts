/**
 * Writes `src/api/*.gen.ts` from the CRDs in `deploy/crds/`, which are the source of truth.
 * With `--check` it writes nothing and fails when a file is stale.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..');
const crdFolder = join(root, 'deploy/crds');

interface SchemaNode {
  [key: string]: unknown;
  properties?: Record<string, SchemaNode>;
}

/** The structural schema as plain JSON Schema: Kubernetes' extensions out, unknown fields refused, objects closed. */
function toJsonSchema(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(toJsonSchema);
  if (typeof node !== 'object' || node === null) return node;
  const source = node as SchemaNode;
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(source)) {
    if (key === 'x-kubernetes-int-or-string') result.type = ['integer', 'string'];
    // A default fills the field in before anybody reads it, but a writer may leave it out: keep fields as they are declared.
    else if (
      key.startsWith('x-kubernetes-') ||
      ['maxItems', 'maxLength', 'default', 'format', 'maxProperties'].includes(key)
    )
      continue;
    else if (key === 'properties') {
      result.properties = Object.fromEntries(
        Object.entries(source.properties ?? {}).map(([name, child]) => [name, toJsonSchema(child)]),
      );
    } else result[key] = toJsonSchema(value);
  }
  if (result.type === 'object' && result.additionalProperties === undefined) result.additionalProperties = false;
  return result;
}

async function generate(file: string): Promise<{ path: string; text: string }> {
  const crd = parse(await readFile(join(crdFolder, file), 'utf8'));
  const kind: string = crd.spec.names.kind;
  const [version] = crd.spec.versions;
  const schema = toJsonSchema(version.schema.openAPIV3Schema) as { properties: Record<string, SchemaNode> };
  const text = await compile(
    {
      title: `${kind}Fields`,
      type: 'object',
      additionalProperties: false,
      required: ['spec'],
      properties: {
        spec: { ...schema.properties.spec, title: `${kind}Spec` },
        status: { ...schema.properties.status, title: `${kind}Status` },
      },
    } as JSONSchema,
    `${kind}Fields`,
    {
      bannerComment: `// Generated from deploy/crds/${file} by \`npm run generate\`. Do not edit.`,
      ignoreMinAndMaxItems: true,
      format: true,
    },
  );
  const fileName = kind.replace(/(?<!^)([A-Z])/g, '-$1').toLowerCase();
  return { path: join(root, `src/api/${fileName}.gen.ts`), text };
}

const check = process.argv.includes('--check');
let stale = 0;
const definitions = (await readdir(crdFolder)).filter(
  (name) => name.endsWith('.yaml') && name !== 'kustomization.yaml',
);
for (const file of definitions) {
  const { path, text } = await generate(file);
  const current = await readFile(path, 'utf8').catch(() => '');
  if (current === text) continue;
  stale++;
  if (check) console.error(`${path} is stale: run \`npm run generate\` and commit the result`);
  else await writeFile(path, text);
}
process.exitCode = check && stale > 0 ? 1 : 0;
