"""The other task: naming what an image shows, by a recurrent network that reads it piece by piece."""
