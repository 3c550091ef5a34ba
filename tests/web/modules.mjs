// Modules are not beside the tests but in a cache (scripts/web-modules.sh), whose folder GRID_WEB_MODULES names.
import { createRequire } from "node:module";
import { join } from "node:path";

export const load = createRequire(join(process.env.GRID_WEB_MODULES, "package.json"));
/** Of the server that is tested, such as http://127.0.0.1:8080 */
export const url = process.env.GRID_URL;
