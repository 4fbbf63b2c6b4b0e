"""A bundle's model as apps on phones take it: a .tflite file that says itself how it is used."""
