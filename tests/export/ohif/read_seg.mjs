// node -r ./globals.cjs read_seg.cjs SEGMENTATION SERIES: prints, by SOPInstanceUID of each image of
// the series, [index of the pixel, number of the segment] of what the segmentation marks there.
import fs from "fs";
import path from "path";
import dcmjs from "dcmjs";
import { metaData } from "@cornerstonejs/core";
import { adaptersSEG } from "@cornerstonejs/adapters";

const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

function bytes(file) {
  const read = fs.readFileSync(file);
  return read.buffer.slice(read.byteOffset, read.byteOffset + read.byteLength);
}

// Of the series, whose texts do not matter: dcmjs refuses the sets of letters of Japanese ones, which
// reach the viewer in UTF-8, by DICOMweb.
function header(file) {
  const found = DicomMessage.readFile(bytes(file), { ignoreErrors: true });
  const named = DicomMetaDictionary.naturalizeDataset(found.dict);
  named._meta = DicomMetaDictionary.namifyDataset(found.meta);
  return named;
}

function facts(kind, one) {
  const turn = one.ImageOrientationPatient.map(Number);
  return {
    instance: one,
    generalImageModule: { sopInstanceUID: one.SOPInstanceUID },
    generalSeriesModule: { modality: one.Modality, seriesInstanceUID: one.SeriesInstanceUID },
    imagePlaneModule: {
      rows: one.Rows,
      columns: one.Columns,
      imageOrientationPatient: turn,
      rowCosines: turn.slice(0, 3),
      columnCosines: turn.slice(3),
      imagePositionPatient: one.ImagePositionPatient.map(Number),
      pixelSpacing: one.PixelSpacing.map(Number),
      frameOfReferenceUID: one.FrameOfReferenceUID,
    },
  }[kind];
}

async function main(segmentation, series) {
  const images = {};
  for (const name of fs.readdirSync(series).sort()) {
    const one = header(path.join(series, name));
    images[`image:${one.SOPInstanceUID}`] = one;
  }
  const known = { get: (kind, id) => (images[id] ? facts(kind, images[id]) : undefined) };
  metaData.addProvider(known.get, 10000);
  const ids = Object.keys(images);
  const found = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
    ids, bytes(segmentation), { metadataProvider: known },
  );
  const marked = {};
  for (const image of found.labelMapImages.flat()) {
    const values = image.voxelManager.getScalarData();
    const own = [];
    values.forEach((value, index) => value && own.push([index, value]));
    marked[image.referencedImageId.slice("image:".length)] = own;
  }
  const names = found.segMetadata.data.map((one) => one?.SegmentLabel ?? null);
  console.log(JSON.stringify({ marked, names }));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
