"""From a recording to frames and sound, and frames to a film: ffmpeg, headers, resampling."""
