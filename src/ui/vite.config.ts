// Builds the page into a folder that the program embeds (see mod.rs): text is compressed here, once, not at each request.
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const out = process.env["GRID_UI_OUT"] ?? "dist";

/** Leaves of each file of text the compressed one only. */
const compressed: Plugin = {
  name: "compressed",
  apply: "build",
  closeBundle() {
    for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
      if (!/\.(html|js|css|svg)$/.test(name)) continue;
      const path = join(out, name);
      writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      rmSync(path);
    }
  },
};

// A server to develop against: GRID_URL, else where `make run` serves.
const target = process.env["GRID_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react(), compressed],
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2023",
    // A file is a file: the policy of the page allows no `data:`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Two files are read and compiled at once; and this one stays in the browser's cache when the page changes.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: "react", test: /node_modules.(react|react-dom|scheduler)./ }] } } },
  },
  server: {
    proxy: {
      // The server lets in only pages of its own.
      "^/(api|graphql|health)": { target, ws: true, changeOrigin: true, headers: { origin: target } },
    },
  },
});
