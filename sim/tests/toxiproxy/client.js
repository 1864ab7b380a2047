// Drives the proxy with toxiproxy-node-client; see README.md.
"use strict";

const assert = require("node:assert/strict");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

async function main(api, upstream) {
    const toxiproxy = new Toxiproxy(`http://${api}`);
    assert.match(await toxiproxy.getVersion(), /2\.12\.0/);
    assert.deepEqual(await toxiproxy.getAll(), {});

    const proxy = await toxiproxy.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream });
    assert.deepEqual([proxy.name, proxy.upstream, proxy.enabled], ["echo", upstream, true]);
    assert.ok((await roundTrip(proxy)) < 900);
    await assert.rejects(toxiproxy.createProxy({ name: "echo", listen: "127.0.0.1:0", upstream }), /409/);
    await assert.rejects(toxiproxy.get("nothing"), /404/);

    const latency = await proxy.addToxic({
        name: "slow", type: "latency", stream: "upstream", toxicity: 1, attributes: { latency: 1000, jitter: 0 },
    });
    assert.deepEqual(latency.attributes, { latency: 1000, jitter: 0 });
    assert.ok((await roundTrip(proxy)) >= 990);
    const changed = await latency.update({ toxicity: 1, attributes: { latency: 2000, jitter: 0 } });
    assert.equal(changed.attributes.latency, 2000);
    assert.ok((await roundTrip(proxy)) >= 1990);
    assert.equal((await proxy.getToxic("slow")).type, "latency");
    await assert.rejects(proxy.addToxic({ name: "bad", type: "typhoon", stream: "upstream", toxicity: 1, attributes: {} }), /400/);
    await latency.remove();
    await assert.rejects(proxy.getToxic("slow"), /404/);

    await proxy.addToxic({ name: "rst", type: "reset_peer", stream: "upstream", toxicity: 1, attributes: { timeout: 0 } });
    await assert.rejects(roundTrip(proxy), { code: "ECONNRESET" });
    await toxiproxy.reset();
    assert.ok((await roundTrip(proxy)) < 900);

    const down = await proxy.update({ enabled: false, listen: proxy.listen, upstream });
    assert.equal(down.enabled, false);
    await assert.rejects(roundTrip(proxy), { code: "ECONNREFUSED" });
    await proxy.update({ enabled: true, listen: proxy.listen, upstream });
    assert.ok((await roundTrip(proxy)) < 900);

    const populated = await toxiproxy.populate([
        { name: "echo", listen: proxy.listen, upstream },
        { name: "second", listen: "127.0.0.1:0", upstream },
    ]);
    assert.deepEqual(Object.keys(populated), ["echo", "second"]);
    assert.ok((await roundTrip(populated.second)) < 900);
    // What Toxiproxy does not have, through the same client.
    await populated.second.addToxic({
        name: "cut", type: "cut", stream: "upstream", toxicity: 1, attributes: { bytes: 3, close: "rst" },
    });
    await assert.rejects(roundTrip(populated.second), { code: "ECONNRESET" });

    for (const one of Object.values(await toxiproxy.getAll())) {
        await one.remove();
    }
    assert.deepEqual(await toxiproxy.getAll(), {});
}

function roundTrip(proxy) {
    const [host, port] = proxy.listen.split(":");
    return new Promise((resolve, reject) => {
        const began = performance.now();
        const socket = net.connect({ host, port: Number(port) });
        let received = "";
        socket.on("connect", () => socket.write("ping"));
        socket.on("error", reject);
        socket.on("close", () => reject(new Error(`closed after '${received}'`)));
        socket.on("data", (data) => {
            received += data;
            if (received === "ping") {
                resolve(performance.now() - began);
                socket.destroy();
            }
        });
    });
}

main(...process.argv.slice(2)).catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
