import { readdirSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const deploy = new URL('../../deploy/', import.meta.url);
const readYaml = (path: string) => parse(readFileSync(new URL(path, deploy), 'utf8'));

/** The schema of a kind as the API server will enforce it, fields it does not name refused as `kubectl apply` refuses them. */
function schemaOf(kind: string): object {
  const crd = readdirSync(new URL('crds', deploy))
    .filter((file) => file !== 'kustomization.yaml')
    .map((file) => readYaml(`crds/${file}`))
    .find(({ spec }) => spec.names.kind === kind);
  return closed(crd.spec.versions[0].schema.openAPIV3Schema) as object;
}

function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== 'object' || node === null) return node;
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value)]));
  return 'properties' in copy && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy;
}

test.each(readdirSync(new URL('samples', deploy)))('the sample %s is a valid manifest', (file) => {
  const manifest = readYaml(`samples/${file}`);
  const { metadata, ...rest } = manifest;
  const validate = new Ajv({ strict: false, allErrors: true, validateFormats: false }).compile(schemaOf(manifest.kind));
  expect(validate({ ...rest, metadata: {} }), JSON.stringify(validate.errors)).toBe(true);
  expect(metadata.name).toMatch(/^[a-z0-9-]+$/);
});
