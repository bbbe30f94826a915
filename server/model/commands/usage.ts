// What `toonfleet models` says of itself.

/** Every subcommand with its options, and some examples. */
export const USAGE = `toonfleet models: the models that workers draw with

usage:
  toonfleet models list [--json]
  toonfleet models verify [--json]
  toonfleet models add FILE --name NAME --style ID[:TITLE] --licence LICENCE --accept-licence [options]
  toonfleet models add FILE --detector --name NAME --licence LICENCE --accept-licence [--preset NAME]
  toonfleet models compose --name NAME --style ID[:TITLE] --detector NAME --face NAME --background NAME [options]
  toonfleet models remove NAME [--dry-run]
  toonfleet models pull [NAME --accept-licence] [--sha256 HEX] [--style ID[:TITLE]]
  toonfleet models optimize NAME [--int8 --photos DIR] [--size 512] [--psnr 35] [--dry-run]

examples:
  toonfleet models add AnimeGANv3_Hayao_36.onnx --name hayao-36 --style hayao:Hayao \\
      --licence "AnimeGANv3: non-commercial" --accept-licence
  toonfleet models add cute.onnx --name tiny-cute --style cute --licence "non-commercial" --accept-licence \\
      --multiple 16 --min-side 256
  toonfleet models pull animeganv3-hayao --accept-licence
  toonfleet models optimize hayao-36 --int8 --photos ~/photos

options of add (what is left out is found out by running the model on a drawn photo, which says how sure it is):
  --layout NHWC|NCHW      where the colour channels stand
  --channels RGB|BGR      their order                                  (RGB)
  --range LOW,HIGH        the values of black and of full light        (-1,1, 0,1 or 0,255, whichever draws the photo)
  --out-range LOW,HIGH    the same for the output                      (as --range, where that is given)
  --multiple N            both sides are multiples of N                (the least that draws)
  --min-side N            smaller pictures are enlarged to N px        (256)
  --fixed WxH             the only size that the model takes
  --alias NAME            another name of the style; may come several times
  --source TEXT           where the file came from
  --dry-run               say what would be written, and write nothing

  --preset NAME           the numbers of a known model: dct-net-head, dct-net-background, retinaface-mobilenet
  --part                  it only draws parts for a composite, and is no style by itself
  --detector              it finds faces, and says where in RetinaFace's way
  --spec FILE             of a detector: its input and anchors (YAML), where they are not RetinaFace MobileNet's

options of compose, which enters a style that draws faces with one model over what another draws:
  --detector NAME  --face NAME  --background NAME    models that are installed; the background may be an embedded one
  --crop N                the side of the square that the face model draws, px          (512)
  --preset dct-net        DCT-Net's crop and alignment; with its mask: --mask alpha.jpg
  --mask FILE             a grey picture: how much of the crop is seen                  (a soft disc)
  --max-faces N           the largest so many are drawn                                 (8)
  --smallest-face N       smaller ones are left to the background, px                   (32)

add copies the file to models.dir and seals it with its SHA-256 and a golden picture. Workers load it when they are
reloaded: toonfleet reload.

remove takes an added model, detector or composite out of the manifest, and its files away; --dry-run lists them. What
models.default_style, models.lighter_style, models.load or a composite needs stays.

pull brings the weights of a known model from where they are published (or from models.mirrors, through models.proxy),
goes on where it was cut, and adds them; without a NAME it lists the catalogue. --sha256 says what the file must be.

options of optimize, which makes a faster variant of an added model, compares both, and enters it beside the model:
  --int8                  convolutions on bytes; else only the pixels' way in and out becomes part of the graph
  --photos DIR            some photos: half of them show the range of every value, half prove the result
  --size N                the side of the pictures that it is made and compared on     (512)
  --psnr N                the worst quality against the original that is accepted, dB   (35)
  --least-ratio N         how many times as fast it has to be here to be kept           (1.02)
  --dry-run               make it and report, but write nothing

verify loads every installed model and its variants, and compares SHA-256 and golden picture; it exits with 1 on a fault.`;
