// One picture from the camera.

/**
 * @param dialog `<dialog>` with a `<video>` and the buttons `.take` and `.stop`.
 * @param {(source, width, height) => void} taken called with the frame, while it is shown.
 * @throws {Error} with a sentence for people.
 */
export async function openCamera(dialog, taken) {
  if (!navigator.mediaDevices) {
    throw new Error(
      "The camera needs https, or the address localhost: browsers allow it nowhere else. " +
        "Choose a picture instead.",
    );
  }
  const stream = await allowed();
  const video = dialog.querySelector("video");
  video.srcObject = stream;
  dialog.showModal();
  await video.play();
  dialog.querySelector(".take").onclick = () => {
    taken(video, video.videoWidth, video.videoHeight);
    dialog.close();
  };
  dialog.querySelector(".stop").onclick = () => dialog.close();
  dialog.onclose = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
}

async function allowed() {
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1280 } },
    });
  } catch (error) {
    const sentences = {
      NotAllowedError: "This page may not use the camera: the browser was told so.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by another program.",
    };
    const sentence = sentences[error.name] ?? `The camera does not start (${error.name}).`;
    throw new Error(`${sentence} Choose a picture instead.`);
  }
}
