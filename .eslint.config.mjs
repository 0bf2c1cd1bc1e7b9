import tseslint from "typescript-eslint";

/** Arrows of the layout that a lint rule can hold; test/unit/layers.test.ts walks the rest. */
const noPulumi = {
  "no-restricted-imports": [
    "error",
    { patterns: [{ group: ["@pulumi/*", "@muhlba91/*"], message: "runtime/ knows nothing of Pulumi." }] },
  ],
};

export default tseslint.config(
  { ignores: ["node_modules/", "dist/", "infra/lab/tools/k3s/"] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/no-base-to-string": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/require-await": "off",
      "max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
    },
  },
  { files: ["runtime/**/*.ts"], rules: noPulumi },
  { files: ["**/*.mjs"], extends: [tseslint.configs.disableTypeChecked] },
);
