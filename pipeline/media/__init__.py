"""From a recording to frames and sound: ffmpeg, headers, decoding, resampling."""
