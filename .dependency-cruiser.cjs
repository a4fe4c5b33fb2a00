// Imports point one way: api <- machine <- migration; the processes on top; kube and qmp know nothing of the product.
const layer = (name, forbidden) => ({
  name: `${name}-imports`,
  severity: 'error',
  from: { path: `^src/${name}/` },
  to: { path: `^src/(${forbidden.join('|')})/` },
});
const tops = ['controller', 'agent', 'localnode', 'cli'];

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'src-never-imports-tests-or-dev',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|dev)/' },
    },
    {
      name: 'no-dev-dependencies-in-src',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'pure-core-does-no-io',
      severity: 'error',
      from: { path: '^src/(api|machine|migration)/', pathNot: '\\.test\\.ts$' },
      to: {
        dependencyTypes: ['core', 'npm'],
        dependencyTypesNot: ['type-only'],
        pathNot: '^(node:)?crypto$',
      },
    },
    layer('api', ['machine', 'migration', 'kube', 'qmp', 'observability', ...tops]),
    layer('machine', ['migration', 'kube', 'qmp', 'observability', ...tops]),
    layer('migration', ['kube', 'qmp', 'observability', ...tops]),
    layer('kube', ['api', 'machine', 'migration', 'qmp', ...tops]),
    layer('qmp', ['api', 'machine', 'migration', 'kube', ...tops]),
    layer('certificates', ['api', 'machine', 'migration', 'kube', 'qmp', 'observability', ...tops]),
    layer('http', ['api', 'machine', 'migration', 'kube', 'qmp', 'observability', ...tops]),
    layer('observability', ['api', 'machine', 'migration', 'kube', 'qmp', ...tops]),
    ...tops.map((top) =>
      layer(
        top,
        tops.filter((other) => other !== top),
      ),
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Tests may import what they like.
    exclude: { path: '\\.(test|testing|test-support)\\.ts$|/testdata/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
