// Runs a program on MicroPython built for WebAssembly, which has no sockets: Node's are lent to it.
//   node micropython.mjs PATH/micropython.mjs DIRECTORY PROGRAM
import fs from 'node:fs';
import net from 'node:net';
import { pathToFileURL } from 'node:url';

const [module, directory, program] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(module));

// Bytes travel as strings of the characters 0 to 255.
globalThis.open_socket = (host, port) => new Promise((opened, failed) => {
  const socket = net.connect(port, host, () => opened(stream(socket)));
  socket.setEncoding('latin1');
  socket.on('error', failed);
});

function stream(socket) {
  const chunks = [];
  let waiter = null, ended = false;
  const give = () => {
    if (waiter && (chunks.length || ended)) {
      waiter(chunks.length ? chunks.shift() : '');
      waiter = null;
    }
  };
  socket.on('data', (data) => { chunks.push(data); give(); });
  socket.on('close', () => { ended = true; give(); });
  return {
    read: () => new Promise((answer) => { waiter = answer; give(); }),
    write: (text) => socket.write(text, 'latin1'),
    close: () => socket.end(),
  };
}

const micropython = await loadMicroPython({ stdout: (line) => console.log(line), linebuffer: true, heapsize: 256 * 1024 });
for (const name of fs.readdirSync(directory)) {
  if (name.endsWith('.py')) micropython.FS.writeFile('/' + name, fs.readFileSync(directory + '/' + name));
}
const text = fs.readFileSync(directory + '/' + program, 'utf8');
// The event loop is Node's, which runs already.
await micropython.runPythonAsync('import lent\n' + text.replace('asyncio.run(main())', 'await main()'));
