# What a model is trained on, from what people have: tokenizers, chat templates.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
remat_test(test_tokenizer unit/test_tokenizer.c LIBS remat_text PkgConfig::JANSSON)
remat_test(test_tokenizer_texts unit/test_tokenizer_texts.c LIBS remat_text PkgConfig::JANSSON)
target_compile_definitions(test_tokenizer_texts PRIVATE REMAT_TOKENIZER_CASES="${CMAKE_SOURCE_DIR}/tests/cases/tokenizer")
remat_test(test_chat unit/test_chat.c LIBS remat_text PkgConfig::JANSSON)
target_compile_definitions(test_chat PRIVATE REMAT_CHAT_CASES="${CMAKE_SOURCE_DIR}/tests/cases/chat")
