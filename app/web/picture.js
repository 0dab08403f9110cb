// Where pictures come from: chooser, drop, paste, camera.

import { byId } from "./dom.js";

/**
 * @typedef {{body: File, name: string, image: CanvasImageSource | null, source: File, made: boolean, note: string | null}}
 *   Picture what is sent; its name; null where the browser cannot read it; what was chosen; whether `body` was
 *   made by the page; what the page did to it
 */

/** @param {File} file @param {boolean} made by the page @returns {Promise<Picture>} */
export async function readPicture(file, made = false) {
  const image = await createImageBitmap(file).catch(() => null); // TIFF, or no picture: the service will say
  return { body: file, name: file.name || "picture.png", image, source: file, made, note: null };
}

/** @param {(files: File[], made?: boolean) => void} onFiles at least one; made by the page? @param {(message: string) => void} onTrouble */
export function watchSources(onFiles, onTrouble) {
  const take = (files) => files?.length && onFiles([...files]);
  byId("choose").onclick = () => byId("file").click();
  for (const input of ["file", "capture"]) {
    byId(input).onchange = ({ target }) => {
      take(target.files);
      target.value = ""; // so that the same file may be chosen again
    };
  }
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
  watchDrops(take);
  byId("camera").onclick = () => photograph((file) => onFiles([file], true), onTrouble);
}

function watchDrops(take) {
  const curtain = byId("dropzone");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return; // text may be dragged into its field
    event.preventDefault();
    curtain.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) curtain.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    curtain.hidden = true;
    take(event.dataTransfer?.files);
  });
}

const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");

async function photograph(onFile, onTrouble) {
  if (!navigator.mediaDevices) {
    byId("capture").click(); // over plain http only a phone's own camera app is left
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    onTrouble("No camera can be used: there is none, or this page may not use it.");
    return;
  }
  const dialog = byId("camera-dialog");
  const video = byId("video");
  const shutter = byId("shutter");
  shutter.disabled = true;
  video.onloadeddata = () => {
    shutter.disabled = false;
    shutter.focus(); // else Enter would cancel
  };
  video.srcObject = stream;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.onclose = async () => {
    const file = dialog.returnValue === "take" ? await still(video) : null;
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    if (file) onFile(file);
  };
}

function still(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => {
    canvas.toBlob(
      (blob) => resolve(new File([blob], "photo.jpg", { type: "image/jpeg" })),
      "image/jpeg",
      0.95,
    );
  });
}
