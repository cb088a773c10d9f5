// Lint rules: strict types everywhere, and the import direction of docs/architecture.md.
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** A room may import only rooms below it; each entry names what it must not reach. */
const rooms = {
  'native-bindings': ['daemon', 'test'],
  'daemon/transfer': ['blobs', 'movers', 'hsm', 'jobs', 'agent', 'control', 'cli', 'config', 'test'],
  'daemon/blobs': ['transfer', 'movers', 'hsm', 'jobs', 'agent', 'control', 'cli', 'test'],
  'daemon/movers': ['hsm', 'jobs', 'agent', 'control', 'cli', 'test'],
  'daemon/hsm': ['jobs', 'agent', 'control', 'cli', 'test'],
  'daemon/jobs': ['hsm', 'agent', 'control', 'cli', 'test'],
  'daemon/control': ['cli', 'test'],
  'daemon/cli': ['test'],
};

const bannedRoom = (name) => ({
  regex: `^\\.{1,2}/(.*/)?${name}(/|\\.js$)`,
  message: `Imports point one way (docs/architecture.md): this room must not import ${name}.`,
});
const onlyFfi = {
  regex: '^(ffi-napi|ref-napi|@2060\\.io/)',
  message: 'native-bindings/ffi.ts is the only importer of ffi-napi and ref-napi.',
};
const noBinding = {
  regex:
    'native-bindings/(liblustreapi|libc|ffi|structs|layouts|copytool|copy-action|call-pool|call-sequence)\\.js$',
  message: 'The daemon knows the file system through native-bindings/lustre.ts only.',
};

export default tseslint.config(
  { ignores: ['dist/', 'build/', '.tap/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts', '**/*.cts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-restricted-imports': ['error', { patterns: [onlyFfi] }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  ...Object.entries(rooms).map(([room, banned]) => ({
    files: [`${room}/**/*.ts`],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          patterns: [...banned.map(bannedRoom), onlyFfi, ...(room.startsWith('daemon/') ? [noBinding] : [])],
        },
      ],
    },
  })),
  { files: ['native-bindings/ffi.ts'], rules: { '@typescript-eslint/no-restricted-imports': 'off' } },
  {
    // tap's subtests return promises that the runner itself waits for.
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-floating-promises': 'off' },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly' } },
  },
);
