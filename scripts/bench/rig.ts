// Owns what the measurements of isolation and of events run on: Lapse with nothing set, and a receiver.

import { rm } from "node:fs/promises";
import { makeDataFolder } from "./data-folder.ts";
import { Receiver } from "./receiver.ts";
import { Service } from "./service.ts";

export interface Rig {
  readonly service: Service;
  readonly receiver: Receiver;
  stop(): Promise<void>;
}

/** Starts Lapse with nothing set but a data folder of its own, unless it is said. */
export async function startRig(settings: Readonly<Record<string, string>> = {}): Promise<Rig> {
  const dataDir = await makeDataFolder();
  const receiver = await Receiver.start();
  const service = await Service.start({ LAPSE_DATA_DIR: dataDir, ...settings });
  return {
    service,
    receiver,
    async stop() {
      await service.stop();
      receiver.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A measurement on a service just started. */
export function onRig<Figure>(measure: (rig: Rig) => Promise<Figure>): () => Promise<Figure> {
  return async () => {
    const rig = await startRig();
    try {
      return await measure(rig);
    } finally {
      await rig.stop();
    }
  };
}
