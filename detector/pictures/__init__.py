"""Pictures for people: boxes on images, the sequence as an animation, videos."""
